"""How the methods stand at one number of shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .predictions import Cell, Predictions
from .recommendation import Recommendation, recommend, verdict
from .statistics import Bootstrap, pareto


@dataclass(frozen=True)
class Standing:
    """The arms of one number of shots (pairs of method and model, of all models) and what their trials cost.

    cell: what they predicted. seconds, parameters: (M,) medians over seeds, NaN where no trial says.
    floors: (M,) bool. metric, resamples, seed: as in Bootstrap.
    """

    cell: Cell
    seconds: np.ndarray
    parameters: np.ndarray
    floors: np.ndarray
    metric: str = "accuracy"
    resamples: int = 2000
    seed: int = 0

    @classmethod
    def of(cls, rows: Sequence[Any], predictions: Predictions, shots: int | str, **bootstrap: Any) -> Standing | None:
        """rows: the board's rows at these shots that are ok. None where none of them has its predictions."""
        trials = {(row.method, row.model, row.seed): row for row in rows}
        cell = predictions.cell(shots)
        ok = [[(*arm, seed) in trials for seed in cell.seeds] for arm in cell.arms]
        present = cell.present & np.array(ok, bool).reshape(cell.present.shape)
        cell = replace(cell, present=present).take(present.any(1))
        if not cell.arms:
            return None
        of_arms = [
            [trials[(*arm, seed)] for seed, p in zip(cell.seeds, there, strict=True) if p]
            for arm, there in zip(cell.arms, cell.present, strict=True)
        ]
        seconds = _medians([[row.seconds for row in rows] for rows in of_arms])
        parameters = _medians([[row.trainable_parameters for row in rows] for rows in of_arms])
        return cls(cell, seconds, parameters, np.array([rows[0].floor for rows in of_arms]), **bootstrap)

    @cached_property
    def bootstrap(self) -> Bootstrap:
        cell = self.cell
        return Bootstrap.of(cell.labels, cell.predictions, cell.present, self.metric, self.resamples, self.seed)

    @cached_property
    def p_holm(self) -> np.ndarray:
        """(M,) against the best of all models."""
        return self.bootstrap.against(self.bootstrap.best)

    @property
    def pareto(self) -> np.ndarray:
        """(M,) bool: the front of seconds and the metric's mean."""
        return pareto(self.seconds, self.bootstrap.means)

    @property
    def majority(self) -> np.ndarray:
        return np.array([method == "majority" for method, _ in self.cell.arms])

    def recommend(self) -> Recommendation:
        cell = self.cell
        return recommend(
            cell.labels,
            cell.predictions,
            self.seconds,
            # Of methods that are equal in all else, a floor is the last to choose.
            np.where(self.floors, np.inf, self.parameters),
            cell.present,
            self.majority,
            self.metric,
            self.resamples,
            self.seed,
            self.bootstrap,
        )

    def verdict(self, chosen: Recommendation, shots: int | str, partial: bool) -> str:
        models = {model for (_, model), floor in zip(self.cell.arms, self.floors, strict=True) if not floor}
        names = [f"{method} on {model}" if len(models) > 1 else method for method, model in self.cell.arms]
        return verdict(names, chosen, self.seconds, self.floors, self.majority, shots, self.metric, partial)


def _medians(values: list[list[float | None]]) -> np.ndarray:
    known = [[v for v in of_arm if v is not None] for of_arm in values]
    return np.array([np.median(v) if v else np.nan for v in known])
