"""Which differences between methods are real: seeds and test examples resampled, paired over methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..engine.resampling import example_weights, mean_over_drawn, percentiles
from .resampling import METRICS


class Difference(NamedTuple):
    """Method a minus method b over the seeds that both have; all NaN where they share none."""

    estimate: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Bootstrap:
    """Nested, paired bootstrap of M methods answering the same N test examples under S seeds.

    Resample b draws test examples with replacement, once for all methods and seeds, and seeds with
    replacement, the same draw for all methods that have the same seeds:
        score*_m[b] = mean over drawn seeds s of metric(method m, seed s, drawn examples b).
    Of K seeds, K - 1 are drawn, which makes the variance of the mean over seeds unbiased (drawing K shrinks
    it by (K - 1) / K: McCarthy and Snowden, 1985). With one seed only the examples are resampled: the
    interval then leaves out the luck of the training draw. A perfect score has an interval of zero width.
    With three seeds p < 0.05 keeps its 5 % as long as the luck of the training draw moves a difference no
    more than the luck of the test rows; at twice that it comes up in 13 % of equal pairs (five seeds: 8 %).

    scores: (M, S) float64, the metric of every method and seed; NaN where a trial is missing.
    samples: (B, M, S) float64, the metric on each resample of the examples; NaN where a trial is missing.
    draws: (B, S) float64 uniform numbers that pick the seeds.
    """

    scores: np.ndarray
    samples: np.ndarray
    draws: np.ndarray

    @classmethod
    def of(
        cls,
        labels: np.ndarray,
        predictions: np.ndarray,
        present: np.ndarray | None = None,
        metric: str = "accuracy",
        resamples: int = 2000,
        seed: int = 0,
    ) -> Bootstrap:
        """labels (N,) and predictions (M, S, N) of class ids; present (M, S) bool says which trials count.

        At least 50 resamples a method are drawn, so that the smallest p-value can survive Holm's factor.
        Raises ValueError for an unknown metric or an empty test set.
        """
        methods, seeds, rows = predictions.shape
        if metric not in METRICS:
            raise ValueError(f"metric {metric!r} cannot be resampled; known: {', '.join(METRICS)}")
        if rows == 0:
            raise ValueError("there are no test examples to resample")
        present = np.ones((methods, seeds), bool) if present is None else np.asarray(present, bool)
        resamples = max(resamples, 50 * methods)
        of_examples, of_seeds = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
        score = METRICS[metric](np.asarray(labels), predictions[present])
        whole = np.full((methods, seeds), np.nan)
        whole[present] = score(np.ones((1, rows), np.float32))[0]
        samples = np.full((resamples, methods, seeds), np.nan)
        start = 0
        for weights in example_weights(rows, resamples, of_examples):
            samples[start : start + len(weights), present] = score(weights)
            start += len(weights)
        return cls(whole, samples, of_seeds.random((resamples, seeds)))

    @property
    def means(self) -> np.ndarray:
        """(M,) the metric, averaged over the seeds that a method has; NaN where it has none."""
        present = ~np.isnan(self.scores)
        count = present.sum(1)
        return np.where(count > 0, np.nansum(self.scores, 1) / np.maximum(count, 1), np.nan)

    def interval(self, method: int, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval of the method's mean."""
        present = ~np.isnan(self.scores[method])
        if not present.any():
            return np.nan, np.nan
        return percentiles(self._over_seeds(self.samples[:, method], present), level)

    def difference(self, a: int, b: int, level: float = 0.95) -> Difference:
        """Two-sided p = min(1, 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (B + 1)), d* the resampled ones."""
        common = ~np.isnan(self.scores[a]) & ~np.isnan(self.scores[b])
        if not common.any():
            return Difference(np.nan, np.nan, np.nan, np.nan)
        resampled = self._over_seeds(self.samples[:, a] - self.samples[:, b], common)
        resampled[np.abs(resampled) < 1e-12] = 0.0  # equal answers must tie, whatever the order of summation
        tail = min((resampled <= 0).sum(), (resampled >= 0).sum())
        estimate = float((self.scores[a] - self.scores[b])[common].mean())
        return Difference(estimate, *percentiles(resampled, level), min(1.0, 2.0 * (1 + tail) / (len(resampled) + 1)))

    def against(self, reference: int) -> np.ndarray:
        """(M,) p-values of every method's difference to the reference, Holm-adjusted over those comparisons.

        The reference's own is 1. NaN where a method shares no seed with it.
        """
        p = np.array([self.difference(reference, m).p for m in range(len(self.scores))])
        p[reference] = np.nan
        adjusted = holm(p)
        adjusted[reference] = 1.0
        return adjusted

    @property
    def best(self) -> int:
        """The method with the highest mean (the first of equals)."""
        return int(np.nanargmax(self.means))

    def _over_seeds(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(B, S) -> (B,): the mean over the seeds drawn among those present."""
        return mean_over_drawn(values, self.draws, np.flatnonzero(present))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979): p_(i) becomes max over j <= i of min(1, (n - j + 1) p_(j)).

    NaN entries stay NaN and are not counted among the n comparisons.
    """
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    steps = np.arange(len(order), 0, -1) * p[order]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def pareto(cost: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(M,) bool: no other is at most as costly and at least as good, and better in one; False where NaN."""
    cost, score = np.asarray(cost, dtype=float), np.asarray(score, dtype=float)
    no_worse = (cost[:, None] <= cost) & (score[:, None] >= score)
    better = (cost[:, None] < cost) | (score[:, None] > score)
    return ~(no_worse & better).any(0) & ~np.isnan(cost) & ~np.isnan(score)
