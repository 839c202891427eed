"""Which tokens of an image are hidden."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ..engine.masks import hidden_count, hide, noise, split_tokens
from ..engine.step import Step, number
from ..schedules import Schedule
from . import View


class MaskSampler(View):
    """Hides a share of every row's tokens: the blocks of the encoder see the others alone.

    With T tokens, H = T - floor(T (1 - ratio)) are hidden, the same number in every row.
    random: any H of them. block: those in rectangles of together H tokens (side ratios in [0.3, 1/0.3],
    log-uniform), topped up at random where rectangles overlap or reach over what is left.

    mode: `random` or `block`. ratio: share of hidden tokens. blocks: how many rectangles.
    The batch's `grid` (rows, columns) says how the tokens stand. Added to the batch: `keep_tokens` (B, T - H)
    among the leading tower's inputs, `hidden` (B, H); indices among the tokens after the prefix tokens.
    Source: He et al. 2021 (arXiv 2111.06377); Bao et al. 2021 (arXiv 2106.08254) for blocks.
    Differs from the paper: every row hides equally many tokens also in `block`.
    """

    def __init__(self, mode: Literal["random", "block"] = "random", ratio: float | Schedule = 0.75, blocks: int = 1):
        if mode not in ("random", "block"):
            raise ValueError(f"mode is `random` or `block`, not {mode!r}")
        if blocks < 1:
            raise ValueError(f"blocks counts rectangles, at least 1, not {blocks}")
        self.mode, self.ratio, self.blocks = mode, ratio, blocks

    def view(self, batch: dict, step: Step, draw: int = 0) -> dict:
        height, width = batch["grid"]
        hidden = hidden_count(height * width, number(self.ratio, step))
        if self.mode == "random":
            return hide(batch, *split_tokens(noise(batch, step, height * width, draw=draw), hidden))
        u = noise(batch, step, height * width + 3 * self.blocks, draw=draw)
        inside = self._rectangles(u[:, height * width :].unflatten(1, (self.blocks, 3)), height, width, hidden)
        return hide(batch, *split_tokens(u[:, : height * width] + inside.flatten(1), hidden))

    def _rectangles(self, u: Tensor, height: int, width: int, hidden: int) -> Tensor:
        """(B, height, width) bool. u: (B, blocks, 3) uniform draws: side ratio, top, left."""
        area = hidden / self.blocks
        ratio = torch.exp((2 * u[..., 0] - 1) * math.log(1 / 0.3))
        tall = (area * ratio).sqrt().clamp(1, height).floor()
        wide = (area / tall).clamp(1, width).floor()
        top, left = (u[..., 1] * (height - tall + 1)).floor(), (u[..., 2] * (width - wide + 1)).floor()
        y = torch.arange(height, device=u.device).view(1, 1, height, 1)
        x = torch.arange(width, device=u.device).view(1, 1, 1, width)
        top, left, tall, wide = (side[..., None, None] for side in (top, left, tall, wide))
        return ((y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)).any(1)
