"""How far the weights are from where they were."""

from __future__ import annotations

import fnmatch
from typing import Literal

import torch
from torch import Tensor

from ..engine.cast import Cast
from ..engine.rows import Rows
from ..engine.step import Step
from . import Objective

_START, _IDENTITY = "start", "scaled_identity"


class WeightDistance(Objective):
    """Pull the trained weights to a reference, or push them from it.

    d = sum over weights and entries of |w - w_0|^n,  n = 2 (l2) or 1 (l1)
    attract: loss = d;  repel: loss = exp(-d)

    to: `start`, the weights before the first update of this training; `scaled_identity`, for square matrices the
        identity times the mean of their own diagonal (other weights do not count); or a member of the cast with
        weights of the same names, such as "@pretrained".
    only: pattern of the names (`*.map.weight`) of the weights that count; what is attached (heads) never counts.
    Loss () float32. Raises LookupError where a member has no weight of a name, ValueError where nothing counts.
    Source: Li, Grandvalet, Davoine 2018 (L2-SP, arXiv 1802.01483), d / 2 beside weight decay on the head.
    Differs from the paper: no factor 1/2; norms and biases count like matrices.
    """

    def __init__(
        self,
        to: str = _START,
        metric: Literal["l2", "l1"] = "l2",
        sign: Literal["attract", "repel"] = "attract",
        only: str = "*",
    ):
        if metric not in ("l2", "l1"):
            raise ValueError(f"metric is `l2` or `l1`, not {metric!r}")
        if sign not in ("attract", "repel"):
            raise ValueError(f"sign is `attract` or `repel`, not {sign!r}")
        self.to, self.metric, self.sign, self.only = to, metric, sign, only

    def prepare(self, cast: Cast, data: Rows) -> None:
        # Weights that a tuner adds are not there yet: `start` is noted at the first loss.
        self.__dict__.pop("start_", None)
        if self.to not in (_START, _IDENTITY):
            cast[self.to]

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        pairs = self._pairs(cast)
        if not pairs:
            raise ValueError(f"weight_distance: no weight that trains is of the names {self.only!r}")
        distance = sum(_distance(weight.float(), known.float(), self.metric) for weight, known in pairs)
        return {"weight_distance": torch.exp(-distance) if self.sign == "repel" else distance}

    def _pairs(self, cast: Cast) -> list[tuple[Tensor, Tensor]]:
        """(weight, what it is compared with)."""
        named = [
            (name, weight)
            for name, weight in cast.model.trainable()
            if not name.startswith("attached.") and fnmatch.fnmatchcase(name, self.only)
        ]
        if self.to == _IDENTITY:
            return [(weight, _scaled_identity(weight)) for _, weight in named if _is_square(weight)]
        if self.to == _START:
            if not hasattr(self, "start_") and named:
                self.start_ = torch.cat([weight.detach().flatten() for _, weight in named])
            known = self.start_.split([weight.numel() for _, weight in named]) if named else []
            return [(weight, one.view_as(weight)) for (_, weight), one in zip(named, known, strict=True)]
        theirs = cast[self.to].weights()
        for name, _ in named:
            if name not in theirs:
                raise LookupError(f"weight_distance: @{self.to} has no weight {name}")
        return [(weight, theirs[name].detach()) for name, weight in named]


def _distance(weight: Tensor, known: Tensor, metric: str) -> Tensor:
    difference = weight - known
    return difference.square().sum() if metric == "l2" else difference.abs().sum()


def _is_square(weight: Tensor) -> bool:
    return weight.ndim == 2 and weight.shape[0] == weight.shape[1]


def _scaled_identity(weight: Tensor) -> Tensor:
    return weight.diagonal().mean() * torch.eye(len(weight), device=weight.device, dtype=weight.dtype)
