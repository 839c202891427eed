"""Accuracy by group of rows."""

from __future__ import annotations

import numpy as np

from ..data.dataset import DataError, Dataset, Splits
from ..engine.cast import Cast
from ..engine.readout import class_scores, labelled
from ..engine.search import Fitted
from . import Probe


class SlicedAccuracy(Probe):
    """Accuracy on each slice of the test rows: the worst slice, and how far apart they are.

    accuracy_s = mean over rows of slice s of [answer = label]; worst = min_s, mean = mean_s (slices weigh the
    same), gap = max_s - min_s, and `slice.VALUE` for each.

    role: the column whose values are the slices: `label`, `group`, `domain`...
    least: slices of fewer rows are left out of worst, mean and gap (their accuracy says little).
    Raises DataError where the data has no such column, ValueError where nothing answers.
    Source: worst-group accuracy as in Sagawa et al. 2020 (arXiv 1911.08731).
    """

    def __init__(self, role: str = "label", least: int = 1):
        self.role, self.least = role, least

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        test = data.test.take(labelled(data.test))
        names = _slices(test, self.role)
        correct = class_scores(cast.model, test, fitted).argmax(1).numpy() == test.labels
        found = {name: float(correct[names == name].mean()) for name in np.unique(names).tolist()}
        judged = [value for name, value in found.items() if (names == name).sum() >= self.least]
        if not judged:
            raise ValueError(f"no slice of {self.role} has {self.least} test rows")
        report = {"worst": min(judged), "mean": sum(judged) / len(judged), "gap": max(judged) - min(judged)}
        return report | {f"slice.{name}": value for name, value in found.items()}


def _slices(rows: Dataset, role: str) -> np.ndarray:
    """(N,) the slice of each row, as text."""
    if role not in rows.table.column_names:
        raise DataError(f"{rows.name}: no column {role!r} to slice by; it has: {', '.join(rows.roles)}")
    if role == "label":
        return np.array(rows.classes, dtype=object)[rows.labels].astype(str)
    return np.array([str(value) for value in rows.table[role].to_pylist()])
