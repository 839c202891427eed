"""Do tasks pull shared weights the same way?"""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import DataError, Dataset, Splits
from ..engine.cast import Cast
from ..engine.learner import Learner, Settings
from ..engine.rows import Rows
from ..engine.search import Fitted
from ..engine.step import Step
from ..objectives import Objective
from . import Probe


class TaskGradientAlignment(Probe):
    """Mean cosine of the gradients of pairs of tasks, on the encoder's weights that train.

    g_t = gradient of the mean loss over rows of task t;  cosine = mean over pairs (s, t) of cos(g_s, g_t)
    Entries that only one of the two tasks reaches (its own row of a table) are no shared weights, and do not count.
    `conflicting`: the share of pairs whose cosine is below 0.

    objective: whose loss. role: the column that says which task a row is of. rows: `train`, or `@step`. batch_size:
        rows of each task, the first ones of an order by the seed.
    Raises DataError where there is no such column, or one task alone; ValueError where nothing in the encoder trains.
    Source: Caccia et al. 2022 (arXiv 2211.03831), their figure of gradient alignment.
    """

    def __init__(
        self,
        objective: Objective | list[Objective],
        role: str = "task",
        rows: str | Dataset = "train",
        batch_size: int = 32,
        seed: int = 0,
    ):
        self.objective, self.role, self.rows, self.batch_size, self.seed = objective, role, rows, batch_size, seed

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        dataset = getattr(data, self.rows) if isinstance(self.rows, str) else self.rows
        groups = self._tasks(dataset)
        model, objective = copy.deepcopy(cast.model), copy.deepcopy(self.objective)
        objectives = objective if isinstance(objective, list) else [objective]
        learner = Learner(Cast(model), [(one, 1.0) for one in objectives], None, Rows(model, dataset), Settings())
        learner.training(False)
        weights = [weight for name, weight in model.trainable() if name.startswith("backbone.")]
        if not weights:
            raise ValueError("nothing in the encoder trains, so that tasks share no weights")
        gradients = []
        for rows in groups:
            loss = sum(term.mean() for term in learner.losses(learner.batch_of(rows), Step()).values())
            found = torch.autograd.grad(loss, weights, allow_unused=True)
            gradients.append(
                torch.cat(
                    [(w.new_zeros(w.shape) if g is None else g).flatten() for g, w in zip(found, weights, strict=True)]
                )
            )
        cosines = [_cosine(first, second) for first, second in itertools.combinations(gradients, 2)]
        return {"cosine": float(np.mean(cosines)), "conflicting": float(np.mean(np.array(cosines) < 0))}

    def _tasks(self, dataset: Dataset) -> list[np.ndarray]:
        if self.role not in dataset.table.column_names:
            raise DataError(f"{dataset.name}: no column {self.role!r} of tasks; it has: {', '.join(dataset.roles)}")
        values = dataset.table[self.role].to_numpy(zero_copy_only=False)
        order = np.random.default_rng(self.seed).permutation(len(values))
        groups = [order[values[order] == value][: self.batch_size] for value in np.unique(values)]
        if len(groups) < 2:
            raise DataError(f"{dataset.name}: has one task alone: no pair of tasks to compare")
        return groups


def _cosine(first: Tensor, second: Tensor) -> float:
    both = (first != 0) & (second != 0)
    return torch.nn.functional.cosine_similarity(first[both], second[both], dim=0).item()
