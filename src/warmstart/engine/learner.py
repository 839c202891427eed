"""Objectives, tuner and optimizer over a cast: what one training loop drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..models import Model
from .attention import ShortAttention
from .cast import Cast
from .rows import Rows
from .step import Step


@dataclass(frozen=True)
class Settings:
    """How a run trains; every number in the units of its name.

    steps: updates. batch_size: rows an update, over all processes. accumulate: into how many parts a batch is
    cut. learning_rate: AdamW's peak rate of the backbone; attached modules get `head_factor` times as much.
    clip: largest norm of the gradient, None for no limit. precision: `bf16`, `no`, None for the hardware's best.
    validate_every: updates between validations, 0 for none; training stops after `patience` validations
    without a better value, and the best weights are kept. batch_statistics: whether batch norms that train follow
    the batches (pretraining), or keep the running statistics that they came with (few labels).
    """

    steps: int = 100
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    head_factor: float = 1.0
    weight_decay: float = 0.01
    clip: float | None = 1.0
    precision: str | None = None
    validate_every: int = 0
    patience: int = 3
    batch_statistics: bool = True
    seed: int = 0


class Learner:
    """Objectives, a tuner and an optimizer over a cast.

    objectives: (objective, weight) pairs; the loss is the weighted sum of all their terms.
    schedule: multiplies the learning rates; None keeps them constant.
    """

    def __init__(
        self,
        cast: Cast,
        objectives: Sequence[tuple[object, float]],
        tuner,
        data: Rows,
        settings: Settings,
        schedule=None,
    ):
        self.cast, self.objectives, self.tuner, self.data = cast, list(objectives), tuner, data
        self.settings, self.schedule = settings, schedule
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            for objective, _ in self.objectives:
                objective.prepare(cast, data)
        if tuner is not None:
            tuner.apply(cast.model, data)
            cast.model.changes.append({"tune": tuner.describe()})
            cast.rebuild()
            data.resume_from(self._reusable_depth(), settings.precision)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(cast.model, settings), lr=settings.learning_rate, fused=True
        )

    def _reusable_depth(self) -> int:
        """Blocks whose outputs never change in this run: frozen, without views, read by one member alone."""
        views = any(objective.redraws for objective, _ in self.objectives)
        alone = len(self.cast.members) == 1
        return self.tuner.prefix(self.cast.model) if alone and not views else 0

    @property
    def module(self) -> LossModule:
        return LossModule(self.cast, self.objectives)

    def set_rates(self, step: Step) -> None:
        factor = 1.0 if self.schedule is None else self.schedule.value(step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    def after_update(self, step: Step) -> None:
        if self.tuner is not None:
            self.tuner.after_update(self.cast.model, step)
        self.cast.refresh()


class LossModule(nn.Module):
    """The whole loss as one module, so that distributed wrappers see its forward and backward."""

    def __init__(self, cast: Cast, objectives: Sequence[tuple[object, float]]):
        super().__init__()
        self.model = cast.model
        self.cast, self.objectives = cast, objectives

    def forward(self, batch: dict, step: Step) -> dict[str, Tensor]:
        """Mean over the batch's rows of every term, times the rows' `weight` where they have one."""
        terms: dict[str, Tensor] = {}
        with ShortAttention():
            for objective, weight in self.objectives:
                for name, term in objective.loss(self.cast, batch, step).items():
                    terms[name] = terms.get(name, 0.0) + weight * _reduce(term, batch.get("weight"))
        return terms


def _reduce(term: Tensor, weights: Tensor | None) -> Tensor:
    if term.ndim == 0:
        return term
    return term.mean() if weights is None else (term * weights).mean()


def _parameter_groups(model: Model, settings: Settings) -> list[dict]:
    """Backbone and attached modules apart; vectors (norms, biases, scales) without weight decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.trainable():
        groups.setdefault((name.startswith("attached."), parameter.ndim >= 2), []).append(parameter)
    if not groups:
        raise ValueError("nothing trains: the tuner froze every weight and nothing is attached to the model")
    return [
        {
            "params": parameters,
            "peak": settings.learning_rate * (settings.head_factor if attached else 1.0),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (attached, decays), parameters in groups.items()
    ]
