"""Whether a tuner starts from the pretrained model, and folds into plain weights, without changing an answer."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Splits
from ..engine.batches import to_device
from ..engine.cast import Cast
from ..engine.rows import Rows
from ..engine.search import Fitted
from ..engine.weights import weights_of
from ..models import Model, count
from ..tuners import Tuner
from . import Probe


class TunerExactness(Probe):
    """Largest differences that a tuner makes where it should make none, and how much it trains.

    start = max |f_applied(x) - f(x)| / max(1, max |f(x)|): of the start model's pooled features, after the tuner is
        applied
    start_weights = max |W_folded - W| / max(1, max |W|): of its weights, after the untrained tuner is folded again
    fold = max |g_folded(x) - g(x)| / max(1, max |g(x)|): of the present model's logits (features where it has no head)
    share = parameters that train in the encoders / parameters of the encoders, what is attached left out

    tuner: the one that the present model was tuned with. rows: test rows x, at most.
    Raises ValueError for a tuner that has no plain weights to fold into.
    Source: tests to ship of Lian et al. 2022 (arXiv 2210.08823) and Yang et al. 2024 (arXiv 2406.05223).
    """

    def __init__(self, tuner: Tuner, rows: int = 64):
        if not tuner.folds:
            raise ValueError(f"{tuner.name} has no plain weights to fold into")
        self.tuner, self.rows = tuner, rows

    def members(self) -> tuple[str, ...]:
        return ("start",)

    @torch.no_grad()
    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        test = data.test.take(np.arange(min(self.rows, len(data.test))))
        model = copy.deepcopy(cast["start"]).eval()
        size = count([p for tower in model.towers.values() for _, p in tower.named_parameters()])
        weights = {name: tensor.clone() for name, tensor in weights_of(model).items()}
        before = self._answers(model, test)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.tuner.apply(model, Rows(model, data.train))
        report = {"start": _largest(self._answers(model, test), before)}
        report["share"] = count([p for n, p in model.trainable() if not n.startswith("attached.")]) / size
        self.tuner.fold(model)
        folded = weights_of(model)
        report["start_weights"] = max(_largest(folded[name], tensor) for name, tensor in weights.items())
        tuned = copy.deepcopy(cast.model).eval()
        before = self._answers(tuned, test)
        self.tuner.fold(tuned)
        return report | {"fold": _largest(self._answers(tuned, test), before)}

    def _answers(self, model: Model, test) -> Tensor:
        rows = Rows(model, test)
        pooled = model.encode(to_device(rows.batch(np.arange(len(rows))), model.device)).pooled
        return model.attached["head"](pooled) if "head" in model.attached else pooled


def _largest(after: Tensor, before: Tensor) -> float:
    """The largest difference, of values above 1 as a share of the largest of them: rounding grows with them."""
    return float((after - before).abs().max() / before.abs().max().clamp_min(1.0))
