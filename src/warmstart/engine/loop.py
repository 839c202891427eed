"""The one training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .batches import batch_rows
from .checkpoint import load_training, save_training
from .learner import Learner
from .precision import best_precision
from .step import Step


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
    if settings.batch_size % share:
        raise TrainingFailed(f"a batch of {settings.batch_size} rows cannot be cut into {share} equal parts")
    if trackers:
        accelerator.init_trackers("warmstart", config=vars(settings) | {"precision": str(settings.precision)})
    learner.cast.model.to(accelerator.device)
    module, optimizer = accelerator.prepare(learner.module, learner.optimizer)
    trace, best = Trace(), _Best()
    start = load_training(checkpoint, learner, trace, best) if checkpoint is not None else 0
    _set_training(learner, True)
    with torch.random.fork_rng():
        for index in range(start, settings.steps):
            step = Step(index, settings.steps, settings.seed)
            _seed(step, accelerator.process_index)
            learner.set_rates(step)
            rows = batch_rows(learner.data, settings, index)
            terms = _update(accelerator, learner, module, optimizer, rows, step, trace)
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
                    save_training(checkpoint, learner, trace, best, index + 1)
                accelerator.wait_for_everyone()
    best.restore(learner)
    _set_training(learner, False)
    if trackers:
        accelerator.end_training()
    return trace


def _update(accelerator, learner, module, optimizer, rows: np.ndarray, step: Step, trace: Trace) -> dict[str, float]:
    optimizer.zero_grad(set_to_none=True)
    mine = np.split(rows, accelerator.num_processes)[accelerator.process_index]
    parts = np.array_split(mine, min(learner.settings.accumulate, len(mine)))
    sums: dict[str, Tensor] = {}
    for i, part in enumerate(parts):
        batch = to_device(learner.data.batch(part), accelerator.device)
        if "weight" in batch:
            # Of the whole batch, so that its parts weigh what they weigh in it.
            batch["weight"] = batch["weight"] / max(float(learner.data.weights[rows].mean()), 1e-12)
        trace.tokens += sum(t.numel() for t in _token_ids(batch)) * accelerator.num_processes
        share = len(part) / len(mine)
        with accelerator.no_sync(module) if i < len(parts) - 1 else nullcontext():
            terms = module(batch, step)
            accelerator.backward(sum(terms.values()) * share)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.detach() * share
    if learner.settings.clip is not None:
        weights = [weight for group in learner.optimizer.param_groups for weight in group["params"]]
        accelerator.clip_grad_norm_(weights, learner.settings.clip)
    optimizer.step()
    return {name: accelerator.reduce(term, "mean").item() for name, term in sums.items()}


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


def _set_training(learner: Learner, training: bool) -> None:
    """Dropout and the like belong to what trains: a model whose backbone is frozen stays in evaluation."""
    learner.cast.model.eval()
    if training and any(p.requires_grad for p in learner.cast.model.backbone.parameters()):
        learner.cast.model.train()
        for module in learner.cast.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                trains = any(p.requires_grad for p in module.parameters())
                module.train(trains and learner.settings.batch_statistics)


def _token_ids(batch: dict) -> Iterator[Tensor]:
    for value in batch.values():
        if isinstance(value, dict) and "attention_mask" in value:
            yield value["attention_mask"]


def _seed(step: Step, process: int) -> None:
    seed = (step.seed * 1_000_003 + step.index) * 64 + process
    # torch.manual_seed keeps a record with a stack trace for every device that is not there, at every call.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(seed)
