"""Whether two tunings of one model change the same weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.search import Fitted
from ..engine.weights import matching
from ..models import Model
from ..tuners import Tuner
from . import Probe


class ChangeOverlap(Probe):
    """What two tuned models have changed of the same start model, and what their sum makes of the first change.

    d_1 = theta_1 - theta_0,  d_2 = theta_2 - theta_0, over all weights of the backbone, tuners folded into copies
    shared = entries that both change / entries that one of them changes;  cosine = d_1 . d_2 / (|d_1| |d_2|)
    interference = max |(theta_0 + d_1 + d_2) - theta_1| over the entries that d_1 changes;  changed: those of d_1

    first, second, before: `@step` of models of one architecture, `before` the start of both.
    first_tuner, second_tuner: those that the models were tuned with; None where their weights are plain.
    Raises ValueError for models of different architectures.
    Source: adapters on disjoint channels add, Yang et al. 2024 (arXiv 2412.06289).
    """

    def __init__(
        self,
        first: str,
        second: str,
        before: str = "start",
        first_tuner: Tuner | None = None,
        second_tuner: Tuner | None = None,
    ):
        self.first, self.second, self.before = (name.removeprefix("@") for name in (first, second, before))
        self.first_tuner, self.second_tuner = first_tuner, second_tuner

    def members(self) -> tuple[str, ...]:
        return (self.first, self.second, self.before)

    @torch.no_grad()
    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        tuned = {
            self.first: _folded(cast[self.first], self.first_tuner),
            self.second: _folded(cast[self.second], self.second_tuner),
        }
        before, after = matching(cast[self.before], tuned, attached=False)
        start, one, two = (_flat(weights) for weights in (before, *after))
        first, second = one - start, two - start
        both, either = (first != 0) & (second != 0), (first != 0) | (second != 0)
        lengths = first.norm() * second.norm()
        moved = (second[first != 0]).abs()
        return {
            "shared": float(both.sum() / either.sum().clamp_min(1)),
            "cosine": float(first @ second / lengths) if lengths > 0 else 0.0,
            "interference": float(moved.max()) if len(moved) else 0.0,
            "changed": int((first != 0).sum()),
        }


def _folded(model: Model, tuner: Tuner | None) -> Model:
    if tuner is None:
        return model
    model = copy.deepcopy(model)
    tuner.fold(model)
    return model


def _flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten().double() for tensor in weights.values()])
