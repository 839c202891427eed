"""Few-shot learning of groups that training left out."""

from __future__ import annotations

import copy

import numpy as np
import torch

from ..data.dataset import DataError, Dataset, Splits
from ..data.draws import draw
from ..engine import loop
from ..engine.batches import to_device
from ..engine.cast import Cast
from ..engine.learner import Learner, Settings
from ..engine.rows import Rows
from ..engine.scores import scores
from ..engine.search import Fitted
from ..objectives import Objective
from ..tuners import Tuner
from . import Probe

_BATCH = 64


class HeldoutSplit(Probe):
    """Accuracy on each group of rows that training left out, after a few of its labelled rows.

    For every value v of `role`: a copy of the model goes on training on `shots` rows of each class among the training
    rows of v, and its head answers the test rows of v. The copies know nothing of each other, and the model stays as it
    was; its head goes on as it is.
    `accuracy`: the mean over groups; `worst`: the smallest; `examples` holds each test row's.

    role, values: which column, and which of its values were held out. objective, tuner: of the few-shot training.
    shots: None for all rows. steps 0: no training. batch_size, learning_rate (None: the tuner's own), head_factor,
        clip, precision: as in `train`. seed: of the rows that are drawn.
    Raises DataError where the data has no such column, or a value that training or test rows do not have.
    """

    def __init__(
        self,
        objective: Objective | list[Objective],
        tuner: Tuner,
        values: list[int | str],
        role: str = "task",
        shots: int | None = 5,
        steps: int = 40,
        batch_size: int = 16,
        learning_rate: float | None = None,
        head_factor: float = 1.0,
        clip: float | None = 1.0,
        precision: str | None = None,
        seed: int = 0,
    ):
        self.objective, self.tuner, self.values, self.role = objective, tuner, values, role
        self.shots, self.steps, self.batch_size, self.learning_rate = shots, steps, batch_size, learning_rate
        self.head_factor, self.clip, self.precision, self.seed = head_factor, clip, precision, seed

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        right = []
        for value in self.values:
            few, test = (_group(split, self.role, value) for split in (data.train, data.test))
            few = few.take(draw(few.labels, self.shots, self.seed))
            right.append(_right(self._learned(cast.model, few), test))
        means = [float(one.mean()) for one in right]
        return {
            "accuracy": float(np.mean(means)),
            "worst": min(means),
            "examples": {"accuracy": np.concatenate(right).tolist()},
        }

    def _learned(self, model, few: Dataset):
        model = copy.deepcopy(model)
        if self.steps == 0:
            return model.eval()
        objective, tuner = copy.deepcopy(self.objective), copy.deepcopy(self.tuner)
        rate = tuner.learning_rates[0] if self.learning_rate is None else self.learning_rate
        settings = Settings(
            steps=self.steps,
            batch_size=min(self.batch_size, len(few)),
            learning_rate=rate,
            head_factor=self.head_factor,
            clip=self.clip,
            precision=self.precision,
            seed=self.seed,
        )
        objectives = objective if isinstance(objective, list) else [objective]
        loop.train(Learner(Cast(model), [(one, 1.0) for one in objectives], tuner, Rows(model, few), settings))
        return model


def _group(data: Dataset, role: str, value) -> Dataset:
    if role not in data.table.column_names:
        raise DataError(f"{data.name}: no column {role!r} to hold out by; it has: {', '.join(data.roles)}")
    found = np.flatnonzero([str(one) == str(value) for one in data.table[role].to_pylist()])
    if not len(found):
        raise DataError(f"{data.name}: no row has {value!r} as its {role}")
    return data.take(found)


@torch.no_grad()
def _right(model, test: Dataset) -> np.ndarray:
    """(N,) 1.0 where the head is right."""
    rows, found = Rows(model, test), []
    for part in np.array_split(np.arange(len(rows)), -(-len(rows) // _BATCH)):
        batch = to_device(rows.batch(part), model.device)
        found.append((scores(model, batch).argmax(1) == batch["label"]).float().cpu().numpy())
    return np.concatenate(found)
