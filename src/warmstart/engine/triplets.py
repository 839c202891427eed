"""Triplets of rows, and who of three is the odd one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..data.dataset import DataError, Dataset


def odd_logits(first: Tensor, second: Tensor, third: Tensor, similarity: str = "cosine") -> Tensor:
    """(B, 3): how alike the two beside each are, (B, D) features; the largest names the odd one."""
    if similarity == "cosine":
        first, second, third = (nn.functional.normalize(one, dim=-1) for one in (first, second, third))
    return torch.stack([(second * third).sum(1), (first * third).sum(1), (first * second).sum(1)], 1)


def factors_of(rows: Dataset, roles: Sequence[str]) -> np.ndarray:
    """(N, L) integers: the values of these roles, from coarse to fine, numbered. Raises DataError for a missing one."""
    found = []
    for role in roles:
        if role not in rows.table.column_names:
            raise DataError(f"{rows.name}: no column {role!r} of the hierarchy; it has: {', '.join(rows.roles)}")
        found.append(np.unique([str(value) for value in rows.table[role].to_pylist()], return_inverse=True)[1])
    return np.stack(found, 1)


def shared_levels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(M,) how many levels of a tree, from the coarsest on, rows a and b (M, L) have in common."""
    return np.cumprod(a == b, axis=1).sum(1)


def tree_judgments(factors: np.ndarray, triplets: np.ndarray) -> np.ndarray:
    """(M, 3) probabilities that each is the odd one: the pair that shares most levels leaves the third; ties share.

    factors: (N, L). triplets: (M, 3) rows.
    """
    a, b, c = (factors[triplets[:, k]] for k in range(3))
    shared = np.stack([shared_levels(b, c), shared_levels(a, c), shared_levels(a, b)], 1)
    best = shared == shared.max(1, keepdims=True)
    return best / best.sum(1, keepdims=True)


def level_triplets(factors: np.ndarray, level: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """(<= count, 3) rows: the first two share the levels up to `level` and, if there is one, not the next; the third
    shares with both the levels before `level` alone.

    So only this level tells the odd one, the third. Fewer where rows are few.
    """
    found: list[np.ndarray] = []
    for _ in range(200):
        drawn = generator.integers(len(factors), size=(20 * count, 3))
        drawn = drawn[(drawn[:, 0] != drawn[:, 1])]
        a, b, c = (factors[drawn[:, k]] for k in range(3))
        right = (shared_levels(a, b) == level + 1) & (shared_levels(a, c) == level) & (shared_levels(b, c) == level)
        found.append(drawn[right])
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]
