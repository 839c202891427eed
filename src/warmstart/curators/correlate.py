"""Rows in which a factor goes with the class: a shortcut, made by choosing rows."""

from __future__ import annotations

import numpy as np

from ..data.dataset import DataError, Dataset
from ..engine.cast import Cast
from . import Curator


class Correlate(Curator):
    """Of each class the rows are chosen so that in a share of them a role has the value that goes with the class.

    Class k goes with value number k mod V of the role's V values in their order. Where too few rows agree, those that
    do not are dropped at random, and the other way round; no row is repeated.

    role: any column but `label`. share: in [0, 1]; 1 / V leaves no hint where values are drawn evenly. Rows without a
    label are dropped. Raises DataError where the data has no such column, ValueError for another share.
    Source: the coloured digits of Arjovsky et al. 2019 (arXiv 1907.02893), whose colour goes with the class so.
    Differs from the paper: rows are chosen, not coloured.
    """

    def __init__(self, role: str, share: float = 0.9):
        if not 0 <= share <= 1:
            raise ValueError(f"share lies in [0, 1], not {share}")
        self.role, self.share = role, share

    def curate(self, data: Dataset, cast: Cast, seed: int) -> Dataset:
        if self.role not in data.table.column_names:
            raise DataError(f"{data.name}: no column {self.role!r} to correlate; it has: {', '.join(data.roles)}")
        values, number = np.unique(np.array(data.table[self.role].to_pylist()), return_inverse=True)
        labels, generator = data.labels, np.random.default_rng(seed)
        kept = []
        for label in np.unique(labels[labels >= 0]):
            agrees = number == label % len(values)
            mine = labels == label
            kept += self._chosen(np.flatnonzero(mine & agrees), np.flatnonzero(mine & ~agrees), generator)
        return data.take(np.sort(np.concatenate(kept)) if kept else [])

    def _chosen(self, agree: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
        """As many rows as have the share."""
        shares = ((agree, self.share), (other, 1 - self.share))
        total = min(len(rows) / share for rows, share in shares if share > 0)
        return [generator.choice(rows, min(round(total * share), len(rows)), replace=False) for rows, share in shares]
