"""Another probe, on other data than that of the run."""

from __future__ import annotations

import numpy as np

from ..data.dataset import Dataset, Splits
from ..data.load import load_data
from ..engine.cast import Cast
from ..engine.search import Fitted
from . import Probe


class OtherData(Probe):
    """What a probe reports where the model meets other data: what it was pretrained on, an earlier task, a harder one.

    report = probe(model, data)

    probe: what judges; where it needs an attached head or a fitted predictor, these answer in the run's classes.
    data: what `load_data` takes: an embedded set (`mnist5k`), a file, or a procedure (`{world: {roles: [text]}}`).
    train, test: rows of each split, drawn under `seed`; None for all.
    Raises DataError where there is no such data.
    Source: forgetting is judged on the data of the former task, as in Yang et al. 2024 (arXiv 2406.05223).
    """

    def __init__(
        self, probe: Probe, data: str | dict, train: int | None = None, test: int | None = None, seed: int = 0
    ):
        self.probe, self.data, self.train, self.test, self.seed = probe, data, train, test, seed

    def members(self) -> tuple[str, ...]:
        return self.probe.members()

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        found = load_data(self.data)
        found.train, found.test = self._drawn(found.train, self.train), self._drawn(found.test, self.test)
        return self.probe.measure(cast, found, fitted)

    def _drawn(self, rows: Dataset, size: int | None) -> Dataset:
        if size is None or size >= len(rows):
            return rows
        order = np.random.default_rng(self.seed).permutation(len(rows))
        return rows.take(np.sort(order[:size]))
