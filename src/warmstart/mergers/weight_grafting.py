"""Transplant a small share of a fine-tuning's weights onto the model that it started from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..engine.learner import Learner
from ..engine.weights import judged, learn_coefficients
from . import Merger, Weights


class WeightGrafting(Merger):
    """Skill localization by grafting: few weights take their fine-tuned values, all others the base's.

    theta = theta_0 + gamma * (theta_1 - theta_0),  gamma in {0, 1} for each entry
    learned:  gamma = g + (1 - 2 g) sigmoid(S - bias), g the largest |theta_1 - theta_0|; min over S of the step's
              objective, from S = 0, so that it starts at g and entries may join or leave; rounded in the end. Of the
              masks seen at the validations, and g, the one with the best validated value is taken.
    movement: gamma = g.  random: as many entries as g has, drawn by the step's seed.

    mask: one of these. share: of all weights, how many entries of g are 1. bias: b; 10 starts sigmoid at 5e-5, which
        is why the paper's rate is 1e7, with plain `sgd` and no clipping. validate_every: updates between validations.
    Values come from `learner.validate`, higher is better. Buffers stay the base's.
    Reports `share` (of the weights that are grafted), `flipped` (of those of g, how many entries joined or left, as a
    share) and `value` (learned, where something was learned).
    Raises ValueError for several models, a share outside (0, 1), or no objective to learn by.
    Source: Panigrahi et al. 2023 (arXiv 2302.06600): 0.01 % of RoBERTa, 100 updates of accumulated gradients.
    Differs from the paper: exactly the given share is 1 in g, where equal entries at the threshold are left out there;
    the masks are compared by validation alone, where the paper adds the training rows' value.
    """

    needs_base = True

    def __init__(
        self,
        share: float = 0.01,
        mask: Literal["learned", "movement", "random"] = "learned",
        bias: float = 10.0,
        validate_every: int = 10,
    ):
        if not 0 < share < 1:
            raise ValueError(f"share lies in (0, 1), not {share}")
        self.share, self.mask, self.bias, self.validate_every = share, mask, bias, validate_every
        self._report: dict = {}

    def report(self) -> dict:
        return self._report

    def merge(self, base: Weights, others: Sequence[Weights], learner: Learner) -> Weights:
        if len(others) != 1:
            raise ValueError(f"weight_grafting takes one fine-tuned model, not {len(others)}")
        names = [name for name in base if name in learner.model.weights()]
        changes = {name: others[0][name] - base[name] for name in names}
        start = self._start(changes, learner.settings.seed)
        chosen, found = start, {}
        if self.mask == "learned":
            chosen, found = self._learned(base, changes, start, learner)
        flipped = sum((chosen[name] != start[name]).sum().item() for name in names)
        share = _ones(chosen) / sum(mask.numel() for mask in chosen.values())
        self._report = {"share": share, "flipped": flipped / _ones(start), **found}
        return {name: base[name] + chosen[name] * changes[name] for name in names}

    def _start(self, changes: Weights, seed: int) -> Weights:
        """g, or as many entries at random; 0 or 1."""
        sizes = torch.cat([change.abs().flatten() for change in changes.values()])
        if self.mask == "random":
            sizes = torch.rand(len(sizes), generator=torch.Generator().manual_seed(seed)).to(sizes.device)
        mask = torch.zeros_like(sizes)
        mask[sizes.topk(max(round(self.share * len(sizes)), 1)).indices] = 1
        parts = mask.split([change.numel() for change in changes.values()])
        return {name: part.view_as(change) for (name, change), part in zip(changes.items(), parts, strict=True)}

    def _learned(self, base: Weights, changes: Weights, start: Weights, learner: Learner) -> tuple[Weights, dict]:
        relaxed = _Mask(start, self.bias)

        def composed(masks: Sequence[Tensor]) -> Weights:
            return {name: base[name] + mask * changes[name] for name, mask in zip(changes, masks, strict=True)}

        def value() -> float:
            return judged(learner, composed(relaxed.rounded()))

        before = value()
        learn_coefficients(
            learner, relaxed, lambda: composed(relaxed.soft()), validate=value, validate_every=self.validate_every
        )
        after = value()
        if before >= after:
            return start, {"value": before}
        return dict(zip(changes, relaxed.rounded(), strict=True)), {"value": after}


def _ones(masks: Weights) -> float:
    return sum(mask.sum().item() for mask in masks.values())


class _Mask(nn.Module):
    """scores: S of every tensor; start: g."""

    def __init__(self, start: Weights, bias: float):
        super().__init__()
        self.start, self.bias = list(start.values()), bias
        self.scores = nn.ParameterList([torch.zeros_like(mask) for mask in self.start])

    def soft(self) -> list[Tensor]:
        moved = [torch.sigmoid(score - self.bias) for score in self.scores]
        return [g + (1 - 2 * g) * one for g, one in zip(self.start, moved, strict=True)]

    @torch.no_grad()
    def rounded(self) -> list[Tensor]:
        return [mask.round() for mask in self.soft()]
