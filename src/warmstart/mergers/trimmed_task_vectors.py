"""Task arithmetic with the smallest and the largest changes of every tensor left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..engine.learner import Learner
from ..engine.weights import judged
from . import Merger, Weights


class TrimmedTaskVectors(Merger):
    """Model Breadcrumbs: of each fine-tuning's changes the middle of their sizes is scaled and added to the base.

    tau_i = theta_i - theta_0;  theta = theta_0 + s sum_i m_i * tau_i
    m_i = 0 on the floor(beta n) smallest and on the floor((1 - gamma) n) largest of the n entries |tau_i|, else 1

    beta, gamma: between which shares of the sizes a change is kept; 0 and 1 keep all, which is `task_vectors`.
    within: entries are ranked in each `tensor`, or over the whole `model` (global trimming).
    scale: s. search: numbers to try in its place; the one with the best validated value is taken, the first of those
        that are as good.
    search_models: of how many of the models, the first ones, the merge is that is judged in a search; None for all. So
        s is found on a few tasks and kept when tasks are added.
    Values come from `learner.validate`, higher is better. Reports `scale`, `kept` (share of the changes that are) and,
    of a search, `value`.
    Raises ValueError for shares that are not 0 <= beta < gamma <= 1, or an empty search.
    Source: Davari and Belilovsky 2023 (arXiv 2312.06795): by tensor, beta 0.85 to 0.9, gamma 0.99, s about 0.3.
    `mergekit` has it as `breadcrumbs`, with density = gamma - beta.
    """

    needs_base = True

    def __init__(
        self,
        beta: float = 0.85,
        gamma: float = 0.99,
        within: Literal["tensor", "model"] = "tensor",
        scale: float = 0.3,
        search: list[float] | None = None,
        search_models: int | None = None,
    ):
        if not 0 <= beta < gamma <= 1:
            raise ValueError(f"shares are 0 <= beta < gamma <= 1, not {beta} and {gamma}")
        if search is not None and not search:
            raise ValueError("search is empty: write the scales to try")
        self.beta, self.gamma, self.within = beta, gamma, within
        self.scale, self.search, self.search_models = scale, search, search_models
        self._report: dict = {}

    def report(self) -> dict:
        return self._report

    def merge(self, base: Weights, others: Sequence[Weights], learner: Learner) -> Weights:
        vectors = [self._trimmed({name: tensor - base[name] for name, tensor in one.items()}) for one in others]
        scale, found = self.scale, {}
        if self.search is not None:
            few = _sum(vectors[: self.search_models])
            values = {one: judged(learner, _moved(base, few, one)) for one in self.search}
            scale = max(values, key=values.get)
            found = {"value": values[scale]}
        kept = sum(int(tensor.count_nonzero()) for one in vectors for tensor in one.values())
        total = len(others) * sum(tensor.numel() for tensor in base.values())
        self._report = {"scale": scale, "kept": kept / total, **found}
        return _moved(base, _sum(vectors), scale)

    def _trimmed(self, vector: Weights) -> Weights:
        if self.within == "tensor":
            return {name: tensor * _middle(tensor, self.beta, self.gamma) for name, tensor in vector.items()}
        mask = _middle(torch.cat([tensor.flatten() for tensor in vector.values()]), self.beta, self.gamma)
        masks = mask.split([tensor.numel() for tensor in vector.values()])
        return {name: t * m.view_as(t) for (name, t), m in zip(vector.items(), masks, strict=True)}


def _middle(vector: Tensor, beta: float, gamma: float) -> Tensor:
    """1 where an entry's size is neither among the smallest nor among the largest; of equals the first is smaller."""
    count = vector.numel()
    # Without the small number 0.29 * 100 would be 28.
    low, high = int(beta * count + 1e-6), int((1 - gamma) * count + 1e-6)
    order = vector.abs().flatten().argsort(stable=True)
    mask = torch.zeros(count, dtype=vector.dtype, device=vector.device)
    mask[order[low : count - high]] = 1
    return mask.view_as(vector)


def _sum(vectors: Sequence[Weights]) -> Weights:
    return {name: sum(one[name] for one in vectors) for name in vectors[0]}


def _moved(base: Weights, vector: Weights, scale: float) -> Weights:
    return {name: tensor + scale * vector[name] for name, tensor in base.items()}
