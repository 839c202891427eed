"""The one training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .checkpoint import load_training, save_training
from .learner import Learner
from .precision import best_precision
from .step import Step

_SORT_BATCHES = 16


class TrainingFailed(RuntimeError):
    """A run cannot go on: one line that says at which step and why."""


@dataclass
class Trace:
    """losses: the summed loss of every update. validations: (update, value). stopped: why it ended early."""

    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    stopped: str = ""
    tokens: int = 0


def train(
    learner: Learner,
    *,
    validate: Callable[[], float] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 0,
    on_step: Callable[[Step, dict[str, float]], None] | None = None,
    trackers: list[str] | None = None,
    tracker_folder: Path | None = None,
) -> Trace:
    """Run a learner for its settings' steps; on any number of processes, with any of accelerate's trackers.

    Which rows make which batch is fixed by seed and step alone. Every process takes its equal share of each
    batch, so that one process and several make the same updates.

    validate: called every `settings.validate_every` updates; higher is better.
    checkpoint: a folder; an interrupted run continues from it bit for bit.
    Raises TrainingFailed where the loss is not finite.
    """
    settings = learner.settings
    accelerator = _accelerator(settings.precision, trackers, tracker_folder)
    share = accelerator.num_processes
    if settings.batch_size % (share * settings.accumulate):
        raise TrainingFailed(
            f"a batch of {settings.batch_size} rows cannot be cut into {share} processes x {settings.accumulate} parts"
        )
    if trackers:
        accelerator.init_trackers("warmstart", config=vars(settings) | {"precision": str(settings.precision)})
    learner.cast.model.to(accelerator.device)
    module, optimizer = accelerator.prepare(learner.module, learner.optimizer)
    trace, best = Trace(), _Best()
    start = load_training(checkpoint, learner, trace) if checkpoint is not None else 0
    _set_training(learner, True)
    with torch.random.fork_rng():
        for index in range(start, settings.steps):
            step = Step(index, settings.steps, settings.seed)
            torch.manual_seed(_step_seed(step, accelerator.process_index))
            learner.set_rates(step)
            rows = batch_rows(learner.data, settings, index)
            parts = np.array_split(rows, share * settings.accumulate)
            mine = parts[accelerator.process_index :: share]
            terms = _update(accelerator, learner, module, optimizer, mine, step, trace)
            learner.after_update(step)
            loss = sum(terms.values())
            trace.losses.append(loss)
            if not math.isfinite(loss):
                raise TrainingFailed(f"the loss became {loss} at step {index + 1} of {settings.steps}")
            if on_step is not None:
                on_step(step, terms)
            if trackers:
                accelerator.log({"loss": loss, **terms}, step=index)
            if validate is not None and settings.validate_every and (index + 1) % settings.validate_every == 0:
                _set_training(learner, False)
                trace.validations.append((index + 1, validate()))
                _set_training(learner, True)
                if best.see(trace.validations[-1][1], learner, settings.patience):
                    trace.stopped = f"no better validation for {settings.patience} times, at step {index + 1}"
                    break
            if checkpoint is not None and checkpoint_every and (index + 1) % checkpoint_every == 0:
                if accelerator.is_main_process:
                    save_training(checkpoint, learner, trace, index + 1)
                accelerator.wait_for_everyone()
    best.restore(learner)
    _set_training(learner, False)
    if trackers:
        accelerator.end_training()
    return trace


def _update(accelerator, learner, module, optimizer, parts, step: Step, trace: Trace) -> dict[str, float]:
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    for i, rows in enumerate(parts):
        batch = to_device(learner.data.batch(rows), accelerator.device)
        trace.tokens += sum(t.numel() for t in _token_ids(batch)) * accelerator.num_processes
        last = i == len(parts) - 1
        with accelerator.no_sync(module) if not last else _nothing():
            terms = module(batch, step)
            accelerator.backward(sum(terms.values()) / len(parts))
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.detach() / len(parts)
    if learner.settings.clip is not None:
        accelerator.clip_grad_norm_([p for _, p in learner.cast.model.trainable()], learner.settings.clip)
    optimizer.step()
    return {name: accelerator.reduce(term, "mean").item() for name, term in sums.items()}


def batch_rows(data, settings, index: int) -> np.ndarray:
    """The rows of update `index`: epochs of shuffled rows, rows of similar length together.

    A batch larger than the data repeats rows.
    """
    per_epoch = max(1, len(data) // settings.batch_size)
    epoch, place = divmod(index, per_epoch)
    return _epoch_batches(data, settings.batch_size, settings.seed, epoch)[place]


def _epoch_batches(data, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    key = (size, seed, epoch)
    cached = getattr(data, "_epoch", None)
    if cached is None or cached[0] != key:
        data._epoch = (key, list(_make_epoch(len(data), data.lengths, size, seed, epoch)))
    return data._epoch[1]


def _make_epoch(n: int, lengths: np.ndarray, size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(n)
    if n < size:
        order = np.resize(order, size)
    full = len(order) // size
    pool = size * _SORT_BATCHES
    batches = []
    for start in range(0, full * size, pool):
        rows = order[start : min(start + pool, full * size)]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + size] for i in range(0, len(rows), size)]
    for i in generator.permutation(len(batches)):
        # Sorted rows would give one process of several all the long ones.
        yield generator.permutation(batches[i])


def to_device(batch: dict, device: torch.device) -> dict:
    """The same nested dict with its tensors on `device`."""
    if device.type == "cpu":
        return batch
    moved = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            value = to_device(value, device)
        moved[name] = value.to(device, non_blocking=True) if torch.is_tensor(value) else value
    return moved


def _accelerator(precision: str | None, trackers, folder: Path | None):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    # The precision is accelerate's process-wide state, and it belongs to a run.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision or best_precision(),
        log_with=trackers,
        project_dir=None if folder is None else str(folder),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


class _Best:
    """The best weights so far, and how many validations ago they were."""

    def __init__(self):
        self.value, self.weights, self.misses = -math.inf, None, 0

    def see(self, value: float, learner: Learner, patience: int) -> bool:
        """Note a validation; True where it is time to stop."""
        if value > self.value:
            self.value, self.misses = value, 0
            self.weights = {n: copy.deepcopy(p.detach()) for n, p in learner.cast.model.trainable()}
        else:
            self.misses += 1
        return self.misses >= patience

    @torch.no_grad()
    def restore(self, learner: Learner) -> None:
        if self.weights is not None:
            for name, parameter in learner.cast.model.trainable():
                parameter.copy_(self.weights[name])


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


def _set_training(learner: Learner, training: bool) -> None:
    """Dropout and the like belong to what trains: a model whose backbone is frozen stays in evaluation."""
    learner.cast.model.eval()
    if training and any(p.requires_grad for p in learner.cast.model.backbone.parameters()):
        learner.cast.model.train()
        for module in learner.cast.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and not any(
                p.requires_grad for p in module.parameters()
            ):
                module.eval()


def _token_ids(batch: dict) -> Iterator[Tensor]:
    for value in batch.values():
        if isinstance(value, dict) and "attention_mask" in value:
            yield value["attention_mask"]


def _step_seed(step: Step, process: int) -> int:
    return (step.seed * 1_000_003 + step.index) * 64 + process
