"""A random half of every block's weight matrices trains, another half in each round."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from ..engine.learner import Learner
from ..engine.randomness import uniform
from ..engine.step import Step
from ..models import Tower
from ..models.wrapped import innermost
from . import Update

_KINDS = ("attention", "cross", "ffn")
_STREAM = 71


class HalfFineTuning(Update):
    """HFT: each round a share of each block's attention and of its feed-forward matrices trains, the others rest.

    W <- W - lr * AdamW(grad) for W in H_r, W for those that rest;  H_r drawn anew for round r = floor(t / redraw)

    Of the n matrices of a block's attention floor(share n + u) train, u uniform in [0, 1), and so of its feed-forward
    layer; a matrix has its bias with it. A matrix that rests gets no gradient, so that the optimizer passes it over,
    with its momentum and its weight decay. All else that the tuner trains (embeddings, norms, heads) trains always.
    Fused matrices (query, key and value in one) are one matrix.

    share: of the matrices. redraw: updates in a round; None for an epoch.
    Raises ValueError for a share outside (0, 1], or where attention and feed-forward layers are not known.
    Source: Hui et al. 2024 (arXiv 2404.18466), a half in each fine-tuning; redrawn each epoch as in the survey of
    Parthasarathy et al. 2024 (arXiv 2408.13296).
    Differs from the paper: of three feed-forward matrices each block draws for itself whether one or two train, where
    the paper lets exactly half of the blocks train two.
    """

    def __init__(self, share: float = 0.5, redraw: int | None = None):
        if not 0 < share <= 1:
            raise ValueError(f"share lies in (0, 1], not {share}")
        if redraw is not None and redraw < 1:
            raise ValueError(f"redraw counts updates, at least 1, not {redraw}")
        self.share, self.redraw = share, redraw

    def step(
        self, learner: Learner, batch: dict, step: Step, inner: Callable[[dict, Step], dict[str, float]]
    ) -> dict[str, float]:
        rests = [p for p in self._resting(learner, step) if p.requires_grad]
        # Only inside: to checkpoints and trials they are weights that train, as over the run they are.
        for parameter in rests:
            parameter.requires_grad_(False)
        try:
            return inner(batch, step)
        finally:
            for parameter in rests:
                parameter.requires_grad_(True)

    def _resting(self, learner: Learner, step: Step) -> Iterator[nn.Parameter]:
        length = self.redraw or max(1, len(learner.data) // learner.settings.batch_size)
        groups = [group for tower in learner.model.towers.values() for group in _groups(tower)]
        if not groups:
            raise ValueError("half_fine_tuning needs blocks whose attention or feed-forward layers are known")
        draws = uniform(step.seed, step.index // length, torch.arange(len(groups)), 9, stream=_STREAM)
        for group, drawn in zip(groups, draws, strict=True):
            trained = int(self.share * len(group) + drawn[0].item())
            for place in drawn[1 : 1 + len(group)].argsort()[trained:].tolist():
                yield from group[place].parameters()


def _groups(tower: Tower) -> list[list[nn.Module]]:
    """For every block the layers of its attention, and those of its feed-forward layer, each once."""
    found: dict[tuple[str, str], dict[str, nn.Module]] = {}
    for kind in _KINDS:
        try:
            parts = tower.parts(f"block.*.{kind}.*")
        except LookupError:
            continue
        for part in parts:
            found.setdefault((part.name.split(".")[1], kind), {})[part.path] = innermost(part.path, part.module)[1]
    return [list(layers.values()) for layers in found.values()]
