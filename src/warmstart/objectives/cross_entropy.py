"""Cross-entropy of a linear head's class scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..engine.cast import Cast
from ..engine.rows import Rows
from ..engine.step import Step
from . import Objective


class CrossEntropy(Objective):
    """Negative log-likelihood of the label under a linear head over the pooled features.

    loss_i = -sum_c q_ic log softmax(W f(x_i) + b)_c,  q_i = (1 - s) onehot(y_i) + s / C

    The head (C, D) is attached to the model as `head` where there is none, with W = 0 and b = 0, so that
    training starts from uniform predictions and needs no seed.

    label_smoothing: s in [0, 1).
    Raises ValueError where the data has no labels.
    Source: Szegedy et al. 2016 (arXiv 1512.00567) for the smoothing.
    """

    def __init__(self, label_smoothing: float = 0.0):
        self.label_smoothing = label_smoothing

    def prepare(self, cast: Cast, data: Rows) -> None:
        if data.labels is None:
            raise ValueError(f"cross_entropy needs labels, and {data.dataset.name} has none")
        if "head" not in cast.model.attached:
            with torch.no_grad():
                width = cast.model.encode(data.batch([0])).pooled.shape[1]
            cast.model.attach("head", "linear", width=width, outputs=len(data.dataset.classes))

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        scores = cast.model.attached["head"](cast.model.encode(batch).pooled)
        loss = nn.functional.cross_entropy(
            scores.float(), batch["label"], reduction="none", label_smoothing=self.label_smoothing
        )
        return {"cross_entropy": loss}
