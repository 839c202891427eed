"""Test rows where none are given: stratified, by group, or by time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from .dataset import DataError


def set_test_apart(tables: dict[str, pa.Table], name: str, roles: Mapping, share: float, seed: int) -> None:
    rows = tables.pop("all") if "all" in tables else tables.pop("train")
    labels = np.unique(np.array(rows["label"].to_pylist(), dtype=object), return_inverse=True)[1]
    try:
        if "group" in roles:
            test = by_group(labels, np.array(rows["group"].to_pylist(), dtype=object), share, seed)
        elif "time" in roles:
            test = by_time(rows["time"].to_numpy(), share)
        else:
            test = stratified(labels, share, seed)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    if not test.any():
        raise DataError(f"{name}: every class has one row only: no test rows can be set apart")
    tables["train"], tables["test"] = rows.filter(pa.array(~test)), rows.filter(pa.array(test))


def stratified(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(N,) bool, the test rows: of every class its share, at least one, and never all of them."""
    rng = np.random.default_rng(seed)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        test[rng.permutation(rows)[:count]] = True
    return test


def by_group(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(N,) bool, the test rows: whole groups, in a seeded order, that bring the classes nearer their share.

    A group that holds the last training rows of a class stays in training.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    if group_of.max() == 0:
        raise DataError("all rows are of one group: no test rows can be set apart by group")
    counts = np.zeros((group_of.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (group_of, labels), 1)
    wanted, left = share * counts.sum(axis=0), counts.sum(axis=0)
    taken = np.zeros(len(counts), dtype=bool)
    for group in np.random.default_rng(seed).permutation(len(counts)):
        own = counts[group]
        nearer = np.abs(wanted - own).sum() < np.abs(wanted).sum()
        if nearer and ((left > own) | (own == 0)).all():
            taken[group] = True
            wanted, left = wanted - own, left - own
    if not taken.any():
        raise DataError("no group can be set apart for testing: each holds too many rows or a whole class")
    return taken[group_of]


def by_time(times: np.ndarray, share: float) -> np.ndarray:
    """(N,) bool, the test rows: the latest; rows of the same time stay together."""
    ordered = np.sort(times)
    if ordered[0] == ordered[-1]:
        raise DataError("all rows have the same time: no test rows can be set apart by time")
    cut = ordered[min(max(round((1 - share) * len(times)), 1), len(times) - 1)]
    return times >= cut if cut > ordered[0] else times > cut
