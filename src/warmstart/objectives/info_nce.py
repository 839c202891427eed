"""Contrast of pairs against the other rows of the batch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ..engine.cast import Cast
from ..engine.pairing import Pairing
from ..engine.processes import gathered
from ..engine.rows import Rows
from ..engine.step import Step, number
from ..schedules import Schedule
from ..views import View
from . import Objective

_LARGEST_SCALE = 100.0


class InfoNce(Objective):
    """Symmetric in-batch contrast of two roles, or of two views, of a row.

    s(x, y) = cos(x, y) / t
    loss_i = 1/2 [ -log softmax_j s(a_i, b_j) ]_{j=i} + 1/2 [ -log softmax_j s(b_i, a_j) ]_{j=i}

    view: pairs are two draws of this view of one row; None: they are two roles of the row.
    roles: the two roles; None takes a dual encoder's image and text, else the first two columns of one modality.
    temperature: t; where it is learned, what it starts from.
    learned: log(1/t) trains, kept at or below log 100. A dual encoder that has a logit scale of its own trains
        that one; elsewhere `logit_scale` is attached to the model.
    negatives: `other`: the other side's rows (CLIP); `both`: also the own side's other rows (NT-Xent of SimCLR),
        so that each side is contrasted with 2B - 2 negatives.
    projection: width of a projection head attached on top of the pooled features; None for none.
    layers: linear layers of that head.
    Loss (B,) float32. On several processes the negatives are the rows of all of them.
    Raises DataError where the rows have neither two roles nor a view.
    Source: Radford et al. 2021 (arXiv 2103.00020); Chen et al. 2020 (arXiv 2002.05709) for `both`.
    Differs from the paper: SimCLR's head has batch normalisation and ReLU, ours GELU alone.
    """

    def __init__(
        self,
        view: View | list[View] | None = None,
        roles: tuple[str, str] | None = None,
        temperature: float | Schedule = 0.07,
        learned: bool = False,
        negatives: Literal["other", "both"] = "other",
        projection: int | None = None,
        layers: int = 2,
    ):
        if negatives not in ("other", "both"):
            raise ValueError(f"negatives are `other` or `both`, not {negatives!r}")
        self.view, self.temperature, self.learned, self.negatives = view, temperature, learned, negatives
        self.pairing = Pairing(view, roles, projection, layers)

    def prepare(self, cast: Cast, data: Rows) -> None:
        self.pairing.prepare(cast, data)
        if self.learned and _own_scale(cast) is None:
            start = math.log(1 / number(self.temperature, Step()))
            cast.model.attach("logit_scale", "scalar", value=start)

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        a, b = self.pairing.embed(cast, batch, step)
        with torch.autocast(a.device.type, enabled=False):
            scale = self._scale(cast, step)
            (all_a, start), (all_b, _) = gathered(a), gathered(b)
            pair = torch.arange(start, start + len(a), device=a.device)
            losses = [
                nn.functional.cross_entropy(self._scores(x, other, own, scale, start), pair, reduction="none")
                for x, other, own in ((a, all_b, all_a), (b, all_a, all_b))
            ]
        return {"info_nce": (losses[0] + losses[1]) / 2}

    def _scores(self, x: Tensor, other: Tensor, own: Tensor, scale: Tensor | float, start: int) -> Tensor:
        """(B, N) similarities to the other side, and, for `both`, (B, 2N) with the own side but oneself."""
        if self.negatives == "other":
            return scale * (x @ other.T)
        mine = scale * (x @ own.T)
        rows = torch.arange(len(x), device=x.device)
        mine = mine.index_put((rows, rows + start), mine.new_tensor(-math.inf))
        return torch.cat([scale * (x @ other.T), mine], dim=1)

    def _scale(self, cast: Cast, step: Step) -> Tensor | float:
        if not self.learned:
            return 1 / number(self.temperature, step)
        scale = _own_scale(cast)
        scale = cast.model.attached["logit_scale"].value if scale is None else scale
        with torch.no_grad():
            scale.clamp_(max=math.log(_LARGEST_SCALE))
        return scale.exp()


def _own_scale(cast: Cast) -> Tensor | None:
    return getattr(cast.model.backbone, "logit_scale", None)
