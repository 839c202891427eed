"""How much the weights that several models changed overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.search import Fitted
from ..engine.weights import matching
from . import Probe


class MaskOverlap(Probe):
    """Which weights each model changed, and how many of them others changed too.

    g_i = [theta_i != theta_0];  overlap_ij = |g_i & g_j| / |g_i|

    models: `@step` of each, grafts of one base or any models trained from it. base: `@step` or `@start`, theta_0.
    share: instead, g_i marks this share of the weights, those with the largest |theta_i - theta_0|.
    Backbones alone are compared. Reports `overlap.i.j` for all pairs i != j, counted from 0, their `mean`, `share.i`
    (|g_i| over all weights), and `chance`, the mean that masks of these sizes would have at random.
    Raises ValueError for fewer than two models, other architectures, or a model that changed nothing.
    Source: Panigrahi et al. 2023 (arXiv 2302.06600), between the grafts of the tasks of one multi-task model.
    """

    def __init__(self, models: Sequence[str], base: str = "@start", share: float | None = None):
        if len(models) < 2:
            raise ValueError("overlap is between two models or more")
        if share is not None and not 0 < share < 1:
            raise ValueError(f"share lies in (0, 1), not {share}")
        self.models, self.base = tuple(name.removeprefix("@") for name in models), base.removeprefix("@")
        self.share = share

    def members(self) -> tuple[str, ...]:
        return (*self.models, self.base)

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        start, ends = matching(cast[self.base], {name: cast[name] for name in self.models}, attached=False)
        masks = [self._mask(start, end) for end in ends]
        sizes = [int(mask.sum()) for mask in masks]
        for name, size in zip(self.models, sizes, strict=True):
            if not size:
                raise ValueError(f"@{name} has all its weights in common with @{self.base}: nothing overlaps")
        shares = {f"share.{i}": size / len(mask) for i, (size, mask) in enumerate(zip(sizes, masks, strict=True))}
        pairs = [(i, j) for i in range(len(masks)) for j in range(len(masks)) if i != j]
        overlaps = {f"overlap.{i}.{j}": int((masks[i] & masks[j]).sum()) / sizes[i] for i, j in pairs}
        chance = sum(shares[f"share.{j}"] for _, j in pairs) / len(pairs)
        return {"mean": sum(overlaps.values()) / len(pairs), "chance": chance, **shares, **overlaps}

    def _mask(self, start: dict[str, Tensor], end: dict[str, Tensor]) -> Tensor:
        """(P,) bool over all weights."""
        sizes = torch.cat([(end[name] - tensor).abs().flatten() for name, tensor in start.items()])
        if self.share is None:
            return sizes > 0
        mask = torch.zeros_like(sizes, dtype=torch.bool)
        mask[sizes.topk(max(round(self.share * len(sizes)), 1)).indices] = True
        return mask
