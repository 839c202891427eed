"""Which rows make which batch: fixed by seed and update alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SORT_BATCHES = 16


def batch_rows(data, settings, index: int) -> np.ndarray:
    """The rows of update `index`: epochs of shuffled rows, rows of similar length together.

    A batch larger than the data repeats rows.
    """
    per_epoch = max(1, len(data) // settings.batch_size)
    epoch, place = divmod(index, per_epoch)
    return _epoch_batches(data, settings.batch_size, settings.seed, epoch)[place]


def _epoch_batches(data, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    key = (size, seed, epoch)
    cached = getattr(data, "_epoch", None)
    if cached is None or cached[0] != key:
        data._epoch = (key, list(_make_epoch(len(data), data.lengths, size, seed, epoch)))
    return data._epoch[1]


def _make_epoch(n: int, lengths: np.ndarray, size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(n)
    if n < size:
        order = np.resize(order, size)
    full = len(order) // size
    pool = size * _SORT_BATCHES
    batches = []
    for start in range(0, full * size, pool):
        rows = order[start : min(start + pool, full * size)]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + size] for i in range(0, len(rows), size)]
    for i in generator.permutation(len(batches)):
        # Sorted rows would give one process of several all the long ones.
        yield generator.permutation(batches[i])
