"""Few labelled rows of every class, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .dataset import DataError


def draw(labels: np.ndarray, shots: int | None, seed: int, names: Sequence[str] | None = None) -> np.ndarray:
    """Sorted indices of `shots` rows of every class; None draws all rows.

    labels: (N,) int class ids; rows below 0 have no class and are never drawn.
    names: class names, for messages; with them, a class without any row is too few rows as well.

    Every class has its own seeded order and gives its first rows: the rows at 1 shot are among those at 4,
    and a class draws the same rows whatever other classes there are. Raises DataError where a class has too
    few.
    """
    labels = np.asarray(labels)
    if shots is None:
        return np.flatnonzero(labels >= 0)
    if shots < 1:
        raise DataError(f"{shots} shots: at least 1 labelled row of each class is needed")
    drawn = []
    for label in range(len(names)) if names is not None else np.unique(labels[labels >= 0]).tolist():
        rows = np.flatnonzero(labels == label)
        if len(rows) < shots:
            name = names[label] if names is not None else label
            held = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
            raise DataError(f"class {name!r} has {held} in training, {shots} asked for")
        drawn.append(np.random.default_rng([seed, label]).permutation(rows)[:shots])
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, dtype=np.int64)
