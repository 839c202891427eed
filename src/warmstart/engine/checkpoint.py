"""A run's whole state on disk, as tensors and plain JSON."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from ..models import Model
from .atomic import write_atomic

FILE = "training.safetensors"


def save_training(folder: Path, learner, trace, best, done: int) -> None:
    """Write everything that a run needs to continue bit for bit after `done` updates.

    One file, replaced as a whole: a kill at any moment leaves the old one or the new one. Members that never
    change are left out; who continues the run makes them again.
    Raises DataError where the file system refuses.
    """
    from safetensors.torch import save

    tensors = {f"model.{name}": tensor for name, tensor in changing(learner.cast.model).items()}
    for member in learner.cast.averages:
        tensors |= {f"member.{member}.{name}": tensor for name, tensor in _weights(learner.cast[member]).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in (best.weights or {}).items()}
    tensors |= _optimizer_tensors(learner.optimizer)
    clock = {
        "done": done,
        "losses": trace.losses,
        "validations": trace.validations,
        "tokens": trace.tokens,
        "best": best.value,
        "misses": best.misses,
        "settings": vars(learner.settings),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(folder / FILE, save(tensors, {"clock": json.dumps(clock)}))


def load_training(folder: Path, learner, trace, best) -> int:
    """Restore what `save_training` wrote; returns the updates already made, 0 where there is nothing.

    Raises ValueError where the saved run had other settings, or trained something else.
    """
    from safetensors import safe_open

    path = folder / FILE
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        clock = json.loads(file.metadata()["clock"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if clock["settings"] != json.loads(json.dumps(vars(learner.settings))):
        changed = [k for k, v in vars(learner.settings).items() if clock["settings"].get(k) != v]
        raise ValueError(f"{path}: the saved run had other settings: {', '.join(changed)}")
    _restore(path, changing(learner.cast.model), tensors, "model.")
    for member in learner.cast.averages:
        _restore(path, _weights(learner.cast[member]), tensors, f"member.{member}.")
    _restore_optimizer(learner.optimizer, tensors)
    trace.losses, trace.tokens = list(clock["losses"]), clock["tokens"]
    trace.validations = [tuple(pair) for pair in clock["validations"]]
    best.value, best.misses = clock["best"], clock["misses"]
    best.weights = _named(tensors, "best.") or None
    return clock["done"]


def changing(model: Model) -> dict[str, Tensor]:
    """What training may change: trainable weights and all buffers, by name."""
    return dict(model.trainable()) | dict(model.named_buffers())


def _weights(model: Model) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def _restore(path: Path, own: dict[str, Tensor], tensors: dict[str, Tensor], prefix: str) -> None:
    saved = _named(tensors, prefix)
    if {name: tensor.shape for name, tensor in saved.items()} != {name: tensor.shape for name, tensor in own.items()}:
        raise ValueError(f"{path}: the saved run trained other weights than this one")
    for name, tensor in own.items():
        tensor.copy_(saved[name])


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{name}": value for i, slots in state.items() for name, value in slots.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    saved = optimizer.state_dict()
    for name, tensor in _named(tensors, "optimizer.").items():
        index, slot = name.split(".")
        saved["state"].setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict(saved)
