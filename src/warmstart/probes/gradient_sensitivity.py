"""Where in a model a gradient step would gain most."""

from __future__ import annotations

import copy
import math

import torch

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.learner import Learner, Settings
from ..engine.rows import Rows
from ..engine.search import Fitted
from ..engine.sensitivity import squared_gradients
from ..models import Model
from ..objectives import Objective
from . import Probe


class GradientSensitivity(Probe):
    """How the squared gradients of a loss spread over the weights of the encoder.

    s_n = sum over batches of g_n^2, g the gradient of a batch's mean loss; every number is a share of sum_n s_n
    top: that of the `share` of entries with the largest s. vectors: that of norms and biases.
    block.I: that of block I; outside: that of what is in no block.

    objective: whose terms are summed. share: in (0, 1]. batches, batch_size: training rows to look at.
    All are 0 where no gradient reaches the encoder. Raises ValueError for a share outside (0, 1].
    Source: He et al. 2023 (SPT, arXiv 2303.08566), 16 batches.
    Differs from the paper: what is attached learns meanwhile (`engine.sensitivity`).
    """

    def __init__(self, objective: Objective, share: float = 0.01, batches: int = 16, batch_size: int = 32):
        if not 0 < share <= 1:
            raise ValueError(f"share lies in (0, 1], not {share}")
        self.objective, self.share = objective, share
        self.batches, self.batch_size = batches, batch_size

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        model = copy.deepcopy(cast.model).requires_grad_(True)
        settings = Settings(batch_size=min(self.batch_size, len(data.train)))
        learner = Learner(Cast(model), [(self.objective, 1.0)], None, Rows(model, data.train), settings)
        learner.training(False)
        weights = _places(model)
        found = squared_gradients(learner, [weight for _, weight in weights], self.batches)
        everything = torch.cat([s.flatten() for s in found])
        total = float(everything.sum())
        largest = everything.topk(math.ceil(self.share * len(everything))).values
        report = {"top": float(largest.sum()), "vectors": _sum(s for s in found if s.ndim < 2)}
        for name in dict.fromkeys(place for place, _ in weights):
            report[name] = _sum(s for (place, _), s in zip(weights, found, strict=True) if place == name)
        return {name: value / total if total else 0.0 for name, value in report.items()}


def _places(model: Model) -> list[tuple[str, torch.nn.Parameter]]:
    """(block.I or outside, weight) of the encoders."""
    found = []
    for tower in {id(tower.module): tower for tower in model.towers.values()}.values():
        prefix = f"{tower.layout.blocks}."
        for name, weight in tower.named_parameters():
            inside = tower.depth > 0 and name.startswith(prefix)
            found.append((f"block.{name.removeprefix(prefix).split('.')[0]}" if inside else "outside", weight))
    return found


def _sum(several) -> float:
    return sum(float(one.sum()) for one in several)
