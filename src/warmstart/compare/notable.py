"""What the predictions of all methods together say about single test rows and pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .predictions import Cell

Method = tuple[str, str]  # method, model


@dataclass(frozen=True)
class Votes:
    """Predictions on the test rows at one number of shots; a vote is one method's with one seed.

    methods: V pairs (method, model). prediction: (V, N) class ids, -1 where there is none.
    confidence: (V, N) in [0, 1], 0 where there is none. label: (N,) given class ids, -1 where there is none.
    """

    methods: tuple[Method, ...]
    prediction: np.ndarray
    confidence: np.ndarray
    label: np.ndarray

    @classmethod
    def of(cls, cell: Cell) -> Votes:
        """The votes of all whole trials; arrays reach up to the last row that any of them answered."""
        arm, seed = np.nonzero(cell.present)
        size = int(cell.rows[-1]) + 1 if len(cell.rows) else 0
        prediction = np.full((len(arm), size), -1, dtype=np.int64)
        confidence = np.zeros((len(arm), size), dtype=np.float32)
        label = np.full(size, -1, dtype=np.int64)
        prediction[:, cell.rows] = cell.predictions[arm, seed]
        confidence[:, cell.rows] = np.clip(np.nan_to_num(cell.confidence[arm, seed]), 0, 1)
        label[cell.rows] = cell.labels
        return cls(tuple(cell.arms[a] for a in arm), prediction, confidence, label)

    def only(self, methods: Sequence[Method]) -> Votes:
        keep = np.array([method in methods for method in self.methods], dtype=bool)
        kept = tuple(method for method in self.methods if method in methods)
        return Votes(kept, self.prediction[keep], self.confidence[keep], self.label)

    def scored(self, method: Method) -> tuple[np.ndarray, np.ndarray]:
        """Confidence and correctness of all predictions of a method, over its seeds."""
        one = self.only([method])
        given = (one.prediction >= 0) & (one.label >= 0)
        return one.confidence[given], (one.prediction == one.label)[given]

    def wrong(self, method: Method) -> np.ndarray:
        """(N,) whether most seeds of a method miss the given label."""
        one = self.only([method])
        return (one.prediction != one.label).mean(axis=0) > 0.5 if one.methods else np.zeros(len(one.label), bool)

    def confusion(self, method: Method, classes: int) -> np.ndarray:
        """(C, C) predictions by given label (rows) and predicted label (columns), over all seeds."""
        one = self.only([method])
        given = (one.prediction >= 0) & (one.label >= 0)
        label = np.broadcast_to(one.label, given.shape)[given]
        cells = np.bincount(label * classes + one.prediction[given], minlength=classes * classes)
        return cells[: classes * classes].reshape(classes, classes)


@dataclass(frozen=True)
class Notable:
    """A test row and how it was voted: (class id, share of votes, mean confidence), most votes first."""

    row: int
    label: int
    votes: tuple[tuple[int, float, float], ...]


def notable_rows(votes: Votes, count: int) -> dict[str, list[Notable]]:
    """At most `count` rows each, by descending score; no row is in both of the first two lists.

    mislabelled: at least 80 % of the votes are for one class c that is not the given one, and at least half
        are confident votes for it: at or above the voter's mean confidence where it is right about c. Score:
        the share of confident votes, then mean confidence. After confident learning (Northcutt et al. 2021,
        arXiv 1911.00068). Differs from the paper: many methods vote; the threshold is the mean over right
        votes, as only the confidence of the predicted class is known; nothing is cross-validated, as no test
        row was trained on.
    hardest: no vote is for the given label; score: mean confidence of the votes.
    disputed: the most entropy of the votes per row, H = -sum_c p_c log p_c, then the most confidence.
    """
    names = ("mislabelled", "hardest", "disputed")
    if not votes.methods or not len(votes.label):
        return {name: [] for name in names}
    total = len(votes.methods)
    given = votes.prediction >= 0
    classes = int(max(votes.prediction.max(), votes.label.max())) + 1
    known = votes.label >= 0
    right = (votes.prediction == votes.label) & known
    confidence = np.where(given, votes.confidence, 0).sum(axis=0) / total

    voter = np.broadcast_to(np.arange(total)[:, None], given.shape)
    ballot = voter * classes + votes.prediction
    tally = np.bincount(ballot[right], minlength=total * classes)
    sums = np.bincount(ballot[right], weights=votes.confidence[right], minlength=total * classes)
    threshold = np.where(tally > 0, sums / np.maximum(tally, 1), np.inf)
    against = given & known & ~right
    sure = against & (votes.confidence >= threshold[ballot])

    row, share = shares(votes.prediction, given, classes)
    entropy = np.bincount(row, weights=-share * np.log(share), minlength=len(votes.label))
    agreed, assured = np.zeros((2, len(votes.label)))
    for most, chosen in ((agreed, against), (assured, sure)):
        np.maximum.at(most, *shares(votes.prediction, chosen, classes))

    mislabelled = best(assured, confidence, (agreed >= 0.8) & (assured >= 0.5), count)
    missed = known & ~right.any(axis=0) & given.all(axis=0)
    missed[mislabelled] = False
    lists = (
        mislabelled,
        best(confidence, agreed, missed, count),
        best(entropy, confidence, entropy > 0, count),
    )
    return {name: [describe(votes, int(row)) for row in rows] for name, rows in zip(names, lists, strict=True)}


def shares(prediction: np.ndarray, chosen: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and shares of the V votes, of every class that a row got a chosen vote for; both (cells,)."""
    everyone = np.broadcast_to(np.arange(prediction.shape[1]), prediction.shape)
    cells, size = np.unique((everyone * classes + prediction)[chosen], return_counts=True)
    return cells // classes, size / len(prediction)


def best(score: np.ndarray, then: np.ndarray, allowed: np.ndarray, count: int) -> np.ndarray:
    """Rows by descending score, ties by descending `then`."""
    order = np.lexsort((-then, -np.round(score, 6)))
    return order[allowed[order]][:count]


def describe(votes: Votes, row: int) -> Notable:
    column, confidence = votes.prediction[:, row], votes.confidence[:, row]
    found, size = np.unique(column[column >= 0], return_counts=True)
    parts = [
        (int(c), float(n) / len(column), float(confidence[column == c].mean()))
        for c, n in zip(found, size, strict=True)
    ]
    return Notable(row, int(votes.label[row]), tuple(sorted(parts, key=lambda part: (-part[1], -part[2]))))
