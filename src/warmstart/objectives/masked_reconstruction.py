"""Reconstruction of hidden patches from the visible ones."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..data.dataset import DataError
from ..engine.cast import Cast
from ..engine.masks import drawn, hidden_count, hide, noise, patches, pick, split_tokens, with_grid
from ..engine.rows import Rows
from ..engine.step import Step
from ..models.tower import KEPT_TOKENS
from ..views import View
from . import Objective

_PIXELS = "pixels"


class MaskedReconstruction(Objective):
    """The hidden patches of an image, predicted by a small decoder from an encoding of the visible ones.

    loss_i = mean over hidden patches p, outputs d of |decoder(f(visible))_pd - target_pd|^n, n = 2 (l2) or 1 (l1)

    The blocks of the encoder see the visible tokens (and its prefix tokens) alone. The decoder is attached to the
    model as `decoder`.

    view: what hides tokens, or several views one after the other, of which one does (what an augmentation before
        it made is then also the target); None hides a share of `ratio` at random.
    target: `pixels`, or the name of a member of the cast, whose last states of the tokens are the target.
    normalize: targets are made mean 0 and variance 1 patch by patch (a member's states, token by token).
    distance: `l2` or `l1`. width, depth, heads: of the decoder's transformer.
    Loss (B,) float32. Raises DataError for what is not an image, LookupError for an encoder without patches.
    Source: He et al. 2021 (arXiv 2111.06377).
    Differs from the paper: the decoder's default size suits encoders of some hundred channels.
    """

    def __init__(
        self,
        view: View | list[View] | None = None,
        ratio: float = 0.75,
        target: str = _PIXELS,
        normalize: bool = True,
        distance: Literal["l2", "l1"] = "l2",
        width: int = 96,
        depth: int = 2,
        heads: int = 3,
    ):
        if distance not in ("l2", "l1"):
            raise ValueError(f"distance is `l2` or `l1`, not {distance!r}")
        hidden_count(4, ratio)
        self.view, self.ratio, self.target, self.normalize, self.distance = view, ratio, target, normalize, distance
        self.width, self.depth, self.heads = width, depth, heads

    @property
    def redraws(self) -> bool:
        return True

    def prepare(self, cast: Cast, data: Rows) -> None:
        if data.modality != "image":
            raise DataError(
                f"masked_reconstruction hides patches of images, and {data.dataset.name} holds {data.modality}"
            )
        if "decoder" in cast.model.attached:
            return
        tower, first = cast.model.tower("image"), data.batch([0])
        with torch.no_grad():
            target = self._targets(cast, first["image"], torch.zeros(1, 1, dtype=torch.long))
        cast.model.attach(
            "decoder",
            "patch_decoder",
            read=tower.patch.out_channels,
            outputs=target.shape[-1],
            grid=with_grid(first, tower)["grid"],
            prefix=tower.prefix_tokens,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
        )

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        tower = cast.model.tower("image")
        seen = self._masked(with_grid(batch, tower), step)
        kept, hidden = seen["image"]["keep_tokens"], seen["hidden"]
        states = tower.encode(seen["image"]).tokens
        predicted = cast.model.attached["decoder"](states, kept, hidden).float()
        target = self._targets(cast, seen["image"], hidden)
        measure = nn.functional.mse_loss if self.distance == "l2" else nn.functional.l1_loss
        return {"masked_reconstruction": measure(predicted, target, reduction="none").mean((1, 2))}

    def _masked(self, batch: dict, step: Step) -> dict:
        if self.view is not None:
            return drawn(self.view, batch, step)
        height, width = batch["grid"]
        scores = noise(batch, step, height * width)
        return hide(batch, *split_tokens(scores, hidden_count(height * width, self.ratio)))

    @torch.no_grad()
    def _targets(self, cast: Cast, inputs: dict, hidden: Tensor) -> Tensor:
        """(B, H, outputs) float32."""
        if self.target == _PIXELS:
            target = pick(patches(inputs["pixel_values"], cast.model.tower("image").patch.stride[0]), hidden)
        else:
            teacher = cast[self.target].tower("image")
            inputs = {name: value for name, value in inputs.items() if name != KEPT_TOKENS}
            target = pick(teacher.encode(inputs).tokens[:, teacher.prefix_tokens :], hidden).float()
        if self.normalize:
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        return target
