"""How far confidence is from accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reliability:
    """Rows grouped by confidence, into bins of equal width over (0, 1], closed on the right.

    count: (B,) rows of each bin. confidence, accuracy: (B,) their means; NaN where a bin is empty.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> Reliability:
    """confidence: (N,) probability of the predicted class. correct: (N,) bool. Confidence 0 is in the first bin."""
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights=values, minlength=bins) / count for values in (confidence, correct)]
    return Reliability(count, *means)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """ECE = sum_b n_b / N |accuracy_b - confidence_b|; NaN without rows. Guo et al. 2017 (arXiv 1706.04599)."""
    if not len(confidence):
        return float("nan")
    found = reliability(confidence, correct, bins)
    gaps = np.abs(np.nan_to_num(found.accuracy - found.confidence))
    return float((found.count * gaps).sum() / found.count.sum())


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """mean_i sum_c (p_ic - [y_i = c])^2, in [0, 2]; NaN without rows. Brier 1950."""
    if not len(labels):
        return float("nan")
    errors = np.asarray(probabilities, np.float64).copy()
    errors[np.arange(len(labels)), labels] -= 1
    return float(np.square(errors).sum(axis=1).mean())
