"""What the verbs that learn share: their rows, and objectives with weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from ..data.dataset import Dataset
from ..data.draws import draw
from ..engine.batches import to_device
from ..engine.learner import Learner
from ..engine.precision import autocast
from ..engine.readout import labelled
from ..engine.rows import Rows
from ..engine.step import Step
from ..objectives import Objective
from ..schedules import Schedule
from .state import State


def rows_for(state: State, which: str, shots: int | None) -> Dataset:
    """The rows that a step learns from; with `shots`, so many labelled ones of each class, drawn by the run's seed."""
    rows = state.rows(which)
    if shots is not None:
        rows = rows.take(draw(rows.labels, shots, state.seed, rows.classes))
    elif which == "labeled":
        rows = rows.take(labelled(rows))
    if not len(rows):
        raise ValueError(f"no {which} rows to learn from")
    return rows


def weighted(
    objective: Objective | list[Objective] | None, weights: dict[str, float | Schedule] | None
) -> list[tuple[Objective, float | Schedule]]:
    """(objective, weight) pairs. Raises ValueError where `weights` names no objective of the step."""
    objectives = objective if isinstance(objective, list) else [] if objective is None else [objective]
    weights, names = weights or {}, [one.name for one in objectives]
    unknown = [name for name in weights if name not in names]
    if unknown:
        raise ValueError(
            f"weights names {unknown[0]!r}, which is no objective of this step; it has: {', '.join(names)}"
        )
    return [(one, weights.get(one.name, 1.0)) for one in objectives]


def validation_loss(learner: Learner, held: Rows) -> Callable[[], float]:
    """Minus the mean loss of held-out rows, which look the same at every validation."""
    settings, model = learner.settings, learner.cast.model
    for objective, _ in learner.objectives:
        # A copy: what an objective keeps for itself belongs to the rows that it learns from.
        copy.deepcopy(objective).prepare(learner.cast, held)
    parts = np.array_split(np.arange(len(held)), -(-len(held) // settings.batch_size))

    @torch.no_grad()
    def validate() -> float:
        total = 0.0
        for rows in parts:
            batch = to_device(held.batch(rows), model.device)
            with autocast(model.device, settings.precision):
                terms = learner.module(batch, Step(0, settings.steps, settings.seed))
            total += len(rows) * sum(terms.values()).item()
        return -total / len(held)

    return validate
