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
