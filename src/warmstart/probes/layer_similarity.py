"""How alike two models see the same rows, block by block."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.layers import pooled_states
from ..engine.search import Fitted
from . import Probe


class LayerSimilarity(Probe):
    """Representational similarity of a model and another, after every block.

    C_l(i, j) = cos(h_l(x_i), h_l(x_j));  similarity_l = pearson over i < j of C_l before and C_l after

    h_l: the mean over a row's tokens of what block l returns, (D,); 1 where a block sees rows as before, whatever
        its own coordinates.
    before: member of the cast to compare with, `@step` or `@start`. rows: test rows compared, at most.
    Reports the list `similarity`, by depth; `block.l`, counted from 0; `lowest`, the depth (l + 1) / L of the least
    similar block; `trend`, the rank correlation of similarity and depth (-1: falls from block to block); `top` and
    `bottom`, the mean of the upper and the lower half.
    Raises ValueError for models of different depth, or whose blocks are not known.
    Source: Shi et al. 2023 (arXiv 2304.05216), as in Merchant et al. 2020 (arXiv 2004.14448); Kriegeskorte et al.
    2008 for the analysis.
    Differs from the paper: rows are compared, through their mean token, where the paper compares tokens.
    """

    def __init__(self, before: str = "@start", rows: int = 200):
        if rows < 3:
            raise ValueError(f"rows are compared by pairs, 3 rows or more, not {rows}")
        self.before, self.rows = before.removeprefix("@"), rows

    def members(self) -> tuple[str, ...]:
        return (self.before,)

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        from scipy.stats import spearmanr

        rows = data.test.take(np.arange(min(len(data.test), self.rows)))
        states = [pooled_states(model, rows) for model in (cast[self.before], cast.model)]
        if len(states[0]) != len(states[1]):
            raise ValueError(f"@{self.before} has {len(states[0])} blocks, the model has {len(states[1])}")
        found = [_pearson(_cosines(a), _cosines(b)) for a, b in zip(*states, strict=True)]
        depth, half = len(found), len(found) // 2
        trend = spearmanr(found, np.arange(depth)).statistic if len(set(found)) > 1 else 0.0
        return {
            "similarity": found,
            **{f"block.{i}": value for i, value in enumerate(found)},
            "lowest": (int(np.argmin(found)) + 1) / depth,
            "trend": float(trend),
            "bottom": float(np.mean(found[:half] or found)),
            "top": float(np.mean(found[half:])),
        }


def _cosines(states: Tensor) -> Tensor:
    """The upper triangle of the rows' cosines, without its diagonal."""
    unit = torch.nn.functional.normalize(states.double(), dim=1)
    places = torch.triu_indices(len(unit), len(unit), offset=1)
    return (unit @ unit.T)[places[0], places[1]]


def _pearson(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a, b]))[0, 1].item()
