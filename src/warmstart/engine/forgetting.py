"""How much of what a model knew is gone: agreement with the start model on which rows are alike."""

from __future__ import annotations

import torch
from torch import Tensor


def neighbour_forgetting(before: Tensor, after: Tensor, k: int = 10, rows: int = 2000) -> float:
    """Share of each row's k nearest neighbours (cosine) under `before` that are not among the k under `after`.

    forgetting = 1 - mean_i |N_k(before, i) & N_k(after, i)| / k

    before, after: (N, D), (N, D') features of the same rows; the first `rows` of them are compared. 0 where
    nothing changed; about 1 - k / N where the two have nothing in common.
    """
    k = min(k, len(before) - 1)
    if k < 1:
        return 0.0
    sets = [_neighbours(features[:rows], k) for features in (before, after)]
    shared = (sets[0].unsqueeze(2) == sets[1].unsqueeze(1)).any(2).float().mean()
    return 1.0 - shared.item()


def _neighbours(features: Tensor, k: int) -> Tensor:
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-2.0)
    return similarity.topk(k, dim=1).indices
