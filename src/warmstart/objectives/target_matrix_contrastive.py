"""Contrast towards a matrix of targets: several or soft positives."""

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

_CLASS = "class"
_FORMS = ("softmax", "sigmoid", "cosine")


class TargetMatrixContrastive(Objective):
    """Similarities inside a batch, drawn towards a target matrix S in [0, 1].

    With c_ij the cosine of entries i and j and S_i its row of targets, over all j but i itself:
    softmax: loss_i = -sum_j S_ij / (sum_k S_ik) log softmax_j(c_ij / t); 0 where S_i is 0
    sigmoid: loss_i = mean_j BCE(sigmoid(c_ij / t), S_ij)
    cosine:  loss_i = mean_j (c_ij - S_ij)^2

    target: `class`: S_ij = 1 for rows of the same label, else 0; or the name of a member of the cast, whose own
        similarities are the target: softmax over j of its cosines / `target_temperature`.
    form: as above. temperature: t.
    view: entries are two draws of it for each row; None: one entry a row, or two where `roles` names two roles,
        which are then contrasted with each other alone (both ways, averaged).
    projection: width of a projection head attached on top of the pooled features; None for none.
    Loss (B,) float32. On several processes the entries are those of all of them.
    Raises ValueError where the target is `class` and the data has no labels; DataError for roles it has not.
    Source: Khosla et al. 2020 (arXiv 2004.11362) for softmax with classes (L_out); Wang et al. 2024
    (arXiv 2405.20462) for sigmoid; Tunstall et al. 2022 (arXiv 2209.11055) for cosine.
    Differs from the paper: the cosine form takes all pairs of a batch, SetFit draws its pairs beforehand.
    """

    def __init__(
        self,
        target: str = _CLASS,
        form: Literal["softmax", "sigmoid", "cosine"] = "softmax",
        temperature: float | Schedule = 0.1,
        target_temperature: float = 0.1,
        view: View | list[View] | None = None,
        roles: tuple[str, str] | None = None,
        projection: int | None = None,
    ):
        if form not in _FORMS:
            raise ValueError(f"form is one of {', '.join(_FORMS)}, not {form!r}")
        self.target, self.form, self.temperature, self.target_temperature = (
            target,
            form,
            temperature,
            target_temperature,
        )
        self.view, self.roles = view, roles
        self.pairing = Pairing(view, roles, projection, single=view is None and roles is None)

    def prepare(self, cast: Cast, data: Rows) -> None:
        if self.target == _CLASS and data.labels is None:
            raise ValueError(f"target_matrix_contrastive needs labels, and {data.dataset.name} has none")
        self.pairing.prepare(cast, data)

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        sides = self.pairing.embed(cast, batch, step)
        with torch.autocast(sides[0].device.type, enabled=False):
            comparisons = self._comparisons(sides)
            targets = self._targets(cast, batch, step, comparisons)
            losses = [
                self._term(anchors @ others.T, target, own, number(self.temperature, step))
                for (anchors, others, own), target in zip(comparisons, targets, strict=True)
            ]
        return {"target_matrix_contrastive": sum(losses) / len(losses)}

    def _comparisons(self, sides: list[Tensor]) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        """(anchors (B, D), others (N, D), own (B,): each anchor's own place among the others, None: not there)."""
        reached = [gathered(side) for side in sides]
        if self.roles is not None:
            return [(sides[0], reached[1][0], None), (sides[1], reached[0][0], None)]
        others = torch.cat([rows for rows, _ in reached])
        places = torch.arange(len(sides[0]), device=others.device)
        return [
            (side, others, places + start + i * len(rows))
            for i, (side, (rows, start)) in enumerate(zip(sides, reached, strict=True))
        ]

    @torch.no_grad()
    def _targets(self, cast: Cast, batch: dict, step: Step, comparisons: list) -> list[Tensor]:
        if self.target != _CLASS:
            teacher = self._comparisons(self.pairing.embed(cast, batch, step, self.target))
            return [
                _without_own((anchors @ others.T) / self.target_temperature, own, -math.inf).softmax(1)
                for anchors, others, own in teacher
            ]
        labels = gathered(batch["label"])[0]
        same = (batch["label"].unsqueeze(1) == labels).to(comparisons[0][0].dtype)
        copies = len(comparisons[0][1]) // len(labels)
        return [_without_own(same.repeat(1, copies), own, 0.0) for _, _, own in comparisons]

    def _term(self, cosines: Tensor, target: Tensor, own: Tensor | None, temperature: float) -> Tensor:
        if self.form == "softmax":
            chances = _without_own(cosines / temperature, own, -math.inf).log_softmax(1)
            share = target / target.sum(1, keepdim=True).clamp_min(1e-12)
            return -torch.where(share > 0, share * chances, 0.0).sum(1)
        if self.form == "sigmoid":
            errors = nn.functional.binary_cross_entropy_with_logits(cosines / temperature, target, reduction="none")
        else:
            errors = (cosines - target) ** 2
        return _without_own(errors, own, 0.0).sum(1) / (errors.shape[1] - int(own is not None))


def _without_own(values: Tensor, own: Tensor | None, instead: float) -> Tensor:
    """(B, N) with each anchor's own entry replaced."""
    return values if own is None else values.scatter(1, own.unsqueeze(1), instead)
