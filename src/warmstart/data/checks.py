"""What the user should know about rows that load: counted, and said in one line each."""

from __future__ import annotations

import numpy as np

from .dataset import MODALITIES, Dataset


def keys_of_rows(data: Dataset) -> np.ndarray:
    """(N,) one key for all that a model may see of a row."""
    roles = [role for role, kind in data.roles.items() if kind in MODALITIES]
    keys = [data.row_keys(role) for role in roles]
    return keys[0] if len(keys) == 1 else np.rec.fromarrays(keys).astype([("", "S16")] * len(keys))


def check_splits(train: Dataset, test: Dataset, val: Dataset | None = None) -> list[str]:
    """Warnings: empty texts, duplicates of train in test, one input under two labels, untested classes, ..."""
    parts = {"train": train, "test": test} | ({"val": val} if val is not None else {})
    keys = {name: keys_of_rows(part) for name, part in parts.items()}
    found = [_empty_texts(name, part) for name, part in parts.items()]
    found += [_duplicates("test", test, keys["test"], keys["train"]), _conflicts(parts, keys)]
    found += [_untested(train, test), _overlap(train, test), _not_later(train, test), _many_classes(train)]
    return [line for line in found if line]


def check_shifted(train: Dataset, shifted: Dataset) -> list[str]:
    line = _duplicates("shifted", shifted, keys_of_rows(shifted), keys_of_rows(train))
    return [line] if line else []


def _empty_texts(name: str, part: Dataset) -> str | None:
    if "text" not in part.roles:
        return None
    empty = [row for row, text in enumerate(part.texts()) if not text.strip()]
    return f"{len(empty):,} texts of {name} are empty (first: {part.place(empty[0])})" if empty else None


def _duplicates(name: str, part: Dataset, keys: np.ndarray, train_keys: np.ndarray) -> str | None:
    rows = np.flatnonzero(np.isin(keys, train_keys))
    if not len(rows):
        return None
    return (
        f"{len(rows):,} of {len(part):,} {name} rows have an exact duplicate in train, which flatters "
        f"every method (first: {part.place(int(rows[0]))})"
    )


def _conflicts(parts: dict[str, Dataset], keys: dict[str, np.ndarray]) -> str | None:
    labels = np.concatenate([part.labels for part in parts.values()])
    _, inverse, counts = np.unique(np.concatenate(list(keys.values())), return_inverse=True, return_counts=True)
    low = np.full(len(counts), np.iinfo(np.int64).max)
    high = np.full(len(counts), -1)
    np.minimum.at(low, inverse, labels)
    np.maximum.at(high, inverse, labels)
    conflicting = low < high
    if not conflicting.any():
        return None
    row = int(np.flatnonzero(conflicting[inverse])[0])
    key, classes = inverse[row], parts["train"].classes
    for part in parts.values():
        if row < len(part):
            place = part.place(row)
            break
        row -= len(part)
    count = int(conflicting.sum())
    return (
        f"{count:,} input{'s stand' if count > 1 else ' stands'} under more than one label "
        f"(first: {place}, as {classes[low[key]]!r} and {classes[high[key]]!r})"
    )


def _untested(train: Dataset, test: Dataset) -> str | None:
    missing = sorted(set(train.labels.tolist()) - set(test.labels.tolist()))
    names = ", ".join(repr(train.classes[label]) for label in missing[:5]) + (", ..." if len(missing) > 5 else "")
    if not missing:
        return None
    return f"{len(missing):,} of {len(train.classes):,} classes have no test rows: {names}"


def _many_classes(train: Dataset) -> str | None:
    if len(train) < 20 or 2 * len(train.classes) <= len(train):
        return None
    return f"{len(train.classes):,} classes on {len(train):,} training rows: is this the right label column?"


def _overlap(train: Dataset, test: Dataset) -> str | None:
    if "group" not in train.roles:
        return None
    shared = set(train.table["group"].to_pylist()) & set(test.table["group"].to_pylist())
    return f"{len(shared):,} groups stand in both train and test (first: {min(shared)!r})" if shared else None


def _not_later(train: Dataset, test: Dataset) -> str | None:
    if "time" not in train.roles:
        return None
    last = np.max(train.table["time"].to_numpy())
    early = int((test.table["time"].to_numpy() < last).sum())
    return f"{early:,} test rows are earlier than the last training row" if early else None
