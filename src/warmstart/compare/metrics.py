"""Numbers over one trial's predictions: right or wrong, calibrated or not, known or unseen."""

from __future__ import annotations

import numpy as np


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of right answers; NaN without rows."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions))) if len(labels) else float("nan")


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean over classes of 2 TP / (2 TP + FP + FN); a class neither labelled nor predicted is left out."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="macro", zero_division=0)) if len(labels) else float("nan")


def ece(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: sum over bins of n_b / N |mean correct - mean confidence|.

    confidence: (N,) probability of the predicted class; correct: (N,) bool. Bins of equal width over (0, 1],
    closed on the right; 0 falls into the first. NaN without rows. Source: Guo et al., 2017, arXiv 1706.04599.
    """
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if not len(confidence):
        return float("nan")
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def auroc(known: np.ndarray, unseen: np.ndarray) -> float:
    """P(confidence of a known row > of an unseen row) + P(equal) / 2; NaN where either is empty."""
    from sklearn.metrics import roc_auc_score

    if not len(known) or not len(unseen):
        return float("nan")
    truth = np.r_[np.ones(len(known)), np.zeros(len(unseen))]
    return float(roc_auc_score(truth, np.r_[known, unseen]))


def fpr95(known: np.ndarray, unseen: np.ndarray) -> float:
    """Share of unseen rows accepted where 95 % of known rows are, confidence >= threshold; NaN if empty."""
    if not len(known) or not len(unseen):
        return float("nan")
    threshold = np.sort(np.asarray(known))[::-1][int(np.ceil(0.95 * len(known) - 1e-9)) - 1]
    return float(np.mean(np.asarray(unseen) >= threshold))
