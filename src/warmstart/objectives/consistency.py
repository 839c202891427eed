"""Two views, or two models, must predict alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..engine.cast import Cast
from ..engine.scores import by_row, scores
from ..engine.step import Step
from ..views import View
from . import Objective

_SMALLEST = 1e-12


class Consistency(Objective):
    """Cross-entropy, squared distance or divergence from target probabilities q to the model's p on a view of the row.

    cross_entropy: loss_i = -w_i sum_c q_ic log p_ic;  squared: loss_i = w_i sum_c (p_ic - q_ic)^2
    symmetric_kl: loss_i = w_i (KL(p_i || q_i) + KL(q_i || p_i)) / 2, q with its gradient too: of a `model` that draws
        anew at each forward (dropout, stochastic experts) these are two draws
    q ~ t^(1 / temperature), t the target's probabilities; argmax of them as one-hot where the temperature is 0
    w_i = share of the row's pixels with max_c t_c > confidence; a row that has one prediction has one pixel

    target: `soft_label`, which updates that label a batch leave in it; or a member of the cast (`model`: the model
        itself, without gradient), which then reads the row under `target_view`.
    view: what the model sees; None for the row as it is. A view that mixes rows finds q and w in the batch, as
        `target` and `target_weight`, and mixes them too.
    rows: `all`, or `unlabeled`: the others count 0.
    Loss (B,) float32; where a dense head answers, the mean over the pixels.
    Raises ValueError where the batch has no such target, or nothing answers.
    Source: Wang et al. 2022 (CoTTA, arXiv 2203.13591, eq. 4); Sohn et al. 2020 (FixMatch, arXiv 2001.07685) for
    confident hard targets (0.95); Tranheden et al. 2021 (DACS, arXiv 2007.08702) for the share of pixels (0.968);
    Liang et al. 2021 (R-Drop, arXiv 2106.14448) for the symmetric divergence.
    Differs from the papers: rows without weight stay in the mean, so that its scale follows how many are confident.
    """

    def __init__(
        self,
        target: str = "soft_label",
        view: View | None = None,
        target_view: View | None = None,
        distance: Literal["cross_entropy", "squared", "symmetric_kl"] = "cross_entropy",
        temperature: float = 1.0,
        confidence: float | None = None,
        rows: Literal["all", "unlabeled"] = "all",
    ):
        self.target, self.view, self.target_view, self.distance = target, view, target_view, distance
        self.temperature, self.confidence, self.rows = temperature, confidence, rows

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        with torch.set_grad_enabled(self.distance == "symmetric_kl"):
            given = self._given(cast, batch, step)
            seen = {**batch, "target": _sharpened(given, self.temperature), "target_weight": self._weight(given)}
            if self.view is not None:
                seen = self.view.view(seen, step, draw=0)
        logits = scores(cast.model, seen)
        if self.distance == "squared":
            apart = (logits.softmax(1) - seen["target"]).square().sum(1)
        elif self.distance == "symmetric_kl":
            apart = _symmetric_kl(logits.log_softmax(1), seen["target"].clamp_min(_SMALLEST).log())
        else:
            apart = -(seen["target"] * logits.log_softmax(1)).sum(1)
        loss = by_row(apart * seen["target_weight"])
        return {"consistency": loss if self.rows == "all" else loss * _unlabeled(batch)}

    def _given(self, cast: Cast, batch: dict, step: Step) -> Tensor:
        if self.target in batch:
            return batch[self.target]
        if self.target not in cast:
            raise ValueError(
                f"consistency needs {self.target!r}: an update that labels the batch, such as mean_teacher, "
                "or a member of the run"
            )
        seen = batch if self.target_view is None else self.target_view.view(batch, step, draw=1)
        return scores(cast[self.target], seen).softmax(1)

    def _weight(self, given: Tensor) -> Tensor:
        """(B, ...) of the shape of a prediction without its classes."""
        if self.confidence is None:
            return torch.ones_like(given[:, 0])
        sure = (given.amax(1) > self.confidence).to(given.dtype)
        return by_row(sure).view(-1, *[1] * (sure.ndim - 1)).expand_as(sure)


def _symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """(KL(p || q) + KL(q || p)) / 2 of log-probabilities, over dimension 1."""
    return ((first.exp() - second.exp()) * (first - second)).sum(1) / 2


def _sharpened(given: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return nn.functional.one_hot(given.argmax(1), given.shape[1]).movedim(-1, 1).to(given.dtype)
    return given if temperature == 1 else given.pow(1 / temperature) / given.pow(1 / temperature).sum(1, keepdim=True)


def _unlabeled(batch: dict) -> Tensor:
    """(B,) bool: rows without a class id; all of them where the batch has no labels."""
    if "label" not in batch:
        return torch.ones_like(batch["rows"], dtype=torch.bool)
    return batch["label"] < 0
