"""Cosine similarities of many rows with many keys, in memory that does not grow with the rows."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

ENTRIES = 1 << 22


def similarity_blocks(queries: Tensor, keys: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Pairs of a slice of the queries and queries[slice] @ keys.T, of at most 16 MB each.

    queries (N, D) and keys (M, D) have unit length.
    """
    step = max(1, ENTRIES // max(1, len(keys)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        yield part, queries[part] @ keys.T
