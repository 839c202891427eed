"""Singular vectors of tuned weights that the weights before tuning did not have."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.search import Fitted
from ..models import Model
from ..models.targets import EVERY_LINEAR, matrix_of, targets
from ..models.wrapped import is_wrapper
from ..tuners import Tuner
from . import Probe

_SPIKE, _DECAY = 1.2, 0.9


class IntruderDimensions(Probe):
    """How many of the strongest directions of tuned weights are like none of the weights before.

    W_0 = U_0 S_0 V_0^T,  W_1 = U_1 S_1 V_1^T,  of every target weight before and after
    u_j of W_1, j <= top, is an intruder where max_i |<u_j, u_0i>| < threshold, i over all left singular vectors of W_0
    Reports `count` over all weights, `per_matrix`, `matrices`, `largest` in one weight, and `similarity`, the mean of
    the maxima.

    A square or wide W_0 has as many vectors as there are directions: an intruder lies between many of them.
    before: member of the cast to compare with: `start`, or `@step`. tuner: the one that the present model was tuned
        with, folded into a copy first; None where its weights are plain.
    top, threshold: as above. parts: part names whose weights are compared; a part of a fused weight is one of its own.
    controls: also count where the answer is known: on random matrices of the weights' shapes with singular values
        0.9^i, `spike`, the mean number of intruders after a rank-one matrix of 1.2 times the largest singular value is
        added in random directions, and `noise`, after dense noise of the same norm is.
    Raises ValueError for models of different architectures, or with additions of a tuner that is not named.
    Source: Shuttleworth et al. 2024 (arXiv 2410.21228).
    Differs from the paper: what scaling an intruder's singular value does to both tasks is not measured.
    """

    def __init__(
        self,
        before: str = "start",
        tuner: Tuner | None = None,
        top: int = 10,
        threshold: float = 0.5,
        parts: Sequence[str] = EVERY_LINEAR,
        controls: bool = False,
        seed: int = 0,
    ):
        if top < 1 or not 0 < threshold <= 1:
            raise ValueError(f"top is 1 or more and threshold above 0 up to 1, not {top} and {threshold}")
        self.before, self.tuner, self.top, self.threshold = before.removeprefix("@"), tuner, top, threshold
        self.parts, self.controls, self.seed = tuple(parts), controls, seed

    def members(self) -> tuple[str, ...]:
        return (self.before,)

    @torch.no_grad()
    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        model = cast.model
        if self.tuner is not None:
            model = copy.deepcopy(model)
            self.tuner.fold(model)
        old, new = self._weights(cast[self.before]), self._weights(model)
        if [w.shape for w in old] != [w.shape for w in new]:
            raise ValueError(f"@{self.before} is of another architecture than the present model")
        maxima = [similarities(before, after, self.top) for before, after in zip(old, new, strict=True)]
        counts = [int((one < self.threshold).sum()) for one in maxima]
        report = {
            "count": sum(counts),
            "per_matrix": sum(counts) / len(counts),
            "matrices": len(counts),
            "largest": max(counts),
            "similarity": float(torch.cat(maxima).mean()),
        }
        return report | (self._controls(old) if self.controls else {})

    def _weights(self, model: Model) -> list[Tensor]:
        found = targets(model, self.parts)
        changed = [target.path for target in found if is_wrapper(target.module)]
        if changed:
            raise ValueError(f"{changed[0]} is tuned by what is added to it: name the tuner, so that it can be folded")
        return [matrix_of(target.layer)[a:b] for target in found for a, b in target.rows]

    def _controls(self, weights: list[Tensor]) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.seed)
        found = [_known(shape, self.top, self.threshold, generator) for shape in sorted({w.shape for w in weights})]
        spikes, noises = zip(*found, strict=True)
        return {"spike": sum(spikes) / len(spikes), "noise": sum(noises) / len(noises)}


def _known(shape: torch.Size, top: int, threshold: float, generator: torch.Generator) -> tuple[int, int]:
    """Intruders that a spike makes, and dense noise of its norm."""

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.double)

    height, width = shape
    rank = min(shape)
    left, right = torch.linalg.qr(drawn(height, rank))[0], torch.linalg.qr(drawn(width, rank))[0]
    weight = left * _DECAY ** torch.arange(rank) @ right.T
    spike, noise = torch.outer(drawn(height), drawn(width)), drawn(height, width)
    found = (similarities(weight, weight + _SPIKE * one / one.norm(), top) for one in (spike, noise))
    first, second = (int((one < threshold).sum()) for one in found)
    return first, second


@torch.no_grad()
def similarities(before: Tensor, after: Tensor, top: int) -> Tensor:
    """(top,): of each of the first left singular vectors of `after` (m, n), the largest |cosine| with any `before`."""
    old = torch.linalg.svd(before.double(), full_matrices=False)[0]
    new = torch.linalg.svd(after.double(), full_matrices=False)[0][:, :top]
    return (new.T @ old).abs().amax(1)
