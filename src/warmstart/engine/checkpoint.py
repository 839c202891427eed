"""A run's whole state on disk, as tensors and plain JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import Tensor


def save_training(folder: Path, learner, trace, done: int) -> None:
    """Write everything that a run needs to continue bit for bit after `done` updates.

    One file, replaced as a whole: a kill at any moment leaves the old one or the new one.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": p.detach() for name, p in learner.cast.model.trainable()}
    tensors |= {f"model.{name}": b for name, b in learner.cast.model.named_buffers()}
    for member in learner.cast:
        if member != "model":
            state = learner.cast[member].state_dict()
            tensors |= {f"member.{member}.{name}": tensor for name, tensor in state.items()}
    tensors |= _optimizer_tensors(learner.optimizer)
    clock = {
        "done": done,
        "losses": trace.losses,
        "validations": trace.validations,
        "tokens": trace.tokens,
        "settings": vars(learner.settings),
    }
    data = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, {"clock": json.dumps(clock)})
    write_atomically(folder / "training.safetensors", data)


def load_training(folder: Path, learner, trace) -> int:
    """Restore what `save_training` wrote; returns the updates already made, 0 where there is nothing.

    Raises ValueError where the saved run had other settings.
    """
    from safetensors import safe_open

    path = folder / "training.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        clock = json.loads(file.metadata()["clock"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if clock["settings"] != json.loads(json.dumps(vars(learner.settings))):
        changed = [k for k, v in vars(learner.settings).items() if clock["settings"].get(k) != v]
        raise ValueError(f"{path}: the saved run had other settings: {', '.join(changed)}")
    _restore_members(learner, tensors)
    _restore_optimizer(learner.optimizer, tensors)
    trace.losses, trace.tokens = list(clock["losses"]), clock["tokens"]
    trace.validations = [tuple(pair) for pair in clock["validations"]]
    return clock["done"]


@torch.no_grad()
def _restore_members(learner, tensors: dict[str, Tensor]) -> None:
    own = dict(learner.cast.model.trainable()) | dict(learner.cast.model.named_buffers())
    for name, tensor in own.items():
        tensor.copy_(tensors[f"model.{name}"])
    for member in learner.cast:
        if member != "model":
            for name, tensor in learner.cast[member].state_dict().items():
                tensor.copy_(tensors[f"member.{member}.{name}"])


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{name}": value for i, slots in state.items() for name, value in slots.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    saved = optimizer.state_dict()
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".")
            saved["state"].setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict(saved)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a kill, sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
