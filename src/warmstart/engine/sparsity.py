"""Which entries of several weights train: the best of all together, and matrices in the place of many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# How many budgets' fractions of entries are tried, one after the other.
_PARTS = 50
# A vector with this share of its entries chosen trains as a whole.
_WHOLE = 0.2


def top_entries(scores: Tensor, sizes: Sequence[int], count: int) -> list[Tensor]:
    """For each weight, the places of its entries among the `count` with the largest scores of all, in order.

    scores: (N,), all weights flattened, one behind the other. sizes: how many entries each has.
    """
    chosen = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    chosen[scores.argsort(descending=True, stable=True)[:count]] = True
    return [part.nonzero()[:, 0] for part in chosen.split(list(sizes))]


def allocate(
    scores: Tensor, sizes: Sequence[int], matrices: Sequence[int | None], budget: int, ratio: float
) -> tuple[list[Tensor], list[int]]:
    """(for each weight the places of its entries that train, the weights that get a low-rank matrix instead).

    Of the tau best entries, a matrix with k of them trains these, or P weights of a low-rank matrix where
    k >= P / ratio; a vector trains them, or all of it where they are a fifth. Of the tau at every fiftieth of the
    budget, that one is taken at which all this comes closest to the budget from below; of equal ones the largest.

    matrices: P of each weight, None for vectors.
    Source: He et al. 2023 (arXiv 2303.08566), its code.
    Differs from the code: never above the budget; it takes the closest on either side.
    """
    order = scores.argsort(descending=True, stable=True)
    owners = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))[order.cpu()]
    stride = max(budget // _PARTS, 1)
    counts = torch.zeros(len(sizes), dtype=torch.int64)
    best, taken = -1, 0
    for start in range(0, len(scores), stride):
        counts += torch.bincount(owners[start : start + stride], minlength=len(sizes))
        spent = sum(_spent(k, size, p, ratio) for k, size, p in zip(counts.tolist(), sizes, matrices, strict=True))
        if best <= spent <= budget:
            best, taken = spent, min(start + stride, len(scores))
    found, low_rank = top_entries(scores, sizes, taken), []
    for i, (size, p) in enumerate(zip(sizes, matrices, strict=True)):
        if p is None and len(found[i]) >= _WHOLE * size:
            found[i] = torch.arange(size, device=scores.device)
        elif p is not None and len(found[i]) >= p / ratio:
            found[i] = found[i][:0]
            low_rank.append(i)
    return found, low_rank


def _spent(chosen: int, size: int, matrix: int | None, ratio: float) -> int:
    if matrix is None:
        return size if chosen >= _WHOLE * size else chosen
    return matrix if chosen >= matrix / ratio else chosen
