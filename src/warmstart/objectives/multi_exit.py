"""Heads at several depths, and the gates that say where to stop, in turns."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.batches import to_device
from ..engine.cast import Cast
from ..engine.exits import EXITS, exit_states
from ..engine.rows import Rows
from ..engine.scores import HEAD
from ..engine.step import Step
from ..models.early_exits import exit_probabilities
from . import Objective

_STATES = "exit_states"
_BATCH_ROWS = 64


class MultiExit(Objective):
    """Heads learn on the rows that leave at them; gates learn where leaving is cheapest.

    warm-up, heads:  loss_i = sum_l (L - l) CE_il, l from 0, L exits with the end
    then, in turns of `every` updates, gates first:
    gates:  loss_i = sum_l w_l(t_il) BCE(g_il, t_il), t_il = 1[l >= l*_i], l*_i = argmin_l CE_il + cost_weight * cost_l
            w_l(1) = min(zeros / ones of t_l in the batch, 5), w_l(0) = 1
    heads:  loss_i = s_i sum_l P_il CE_il, s_i = sum_l CE_il / sum_l P_il CE_il without gradient, so that the loss stays
            as large as without the weights; P_l = max(0, min(g_l, 1 - sum_{k<l} g_k)) without gradient

    The model needs exits (compressor `early_exit`) and a `head`, which takes part in l* and does not train.

    cost_weight: lambda; costs are shares of the whole model's. every: updates of a phase. warm_up: updates.
    gates: False trains the heads alone, by the sum of CE_il after the warm-up: what thresholds answer from.
    frozen: the encoder does not train (tuner `linear_head`), and its states are computed once.
    Loss (B,) float32. Raises ValueError without exits or labels, or where a frozen encoder trains.
    Source: Regol, Chataoui and Coates 2023 (JEI-DNN, arXiv 2310.09163): lambda 0.7, 200 batches a phase.
    Differs from the official code: s_i has no gradient (with one, the weights P cancel out of it); the ratio of the
    classes is that of t_l in the batch, not of l* = l on a validation split.
    """

    turns: ClassVar[tuple[str, ...]] = ("heads", "gates")

    def __init__(
        self, cost_weight: float = 0.7, every: int = 200, warm_up: int = 100, gates: bool = True, frozen: bool = True
    ):
        if every < 1:
            raise ValueError(f"every counts the updates of a phase, at least 1, not {every}")
        self.cost_weight, self.every, self.warm_up, self.gates, self.frozen = cost_weight, every, warm_up, gates, frozen

    @property
    def redraws(self) -> bool:
        """States below the last block are read, which no cached state of it holds."""
        return True

    def active(self, step: Step) -> tuple[str, ...]:
        if not self.gates or step.index < self.warm_up:
            return ("heads",)
        return ("heads",) if (step.index - self.warm_up) // self.every % 2 else ("gates",)

    def owns(self, turn: str, name: str) -> bool:
        return name.startswith(f"attached.{EXITS}.{turn}.")

    def prepare(self, cast: Cast, data: Rows) -> None:
        if EXITS not in cast.model.attached or HEAD not in cast.model.attached:
            raise ValueError("multi_exit needs exits: write `compress: {early_exit: ...}` after the head is trained")
        if data.labels is None:
            raise ValueError(f"multi_exit needs labels, and {data.dataset.name} has none")
        if self.frozen:
            data.add(_STATES, _Once(cast, data))

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        exits = cast.model.attached[EXITS]
        states, last = self._states(cast, batch)
        logits = exits.logits(states)
        if step.turn == "gates":
            with torch.no_grad():
                ends = torch.cat([logits, cast.model.attached[HEAD](last).float().unsqueeze(1)], 1)
                target = self._targets(_cross_entropies(ends, batch["label"]), exits.costs)
            return {"gates": _balanced(exits.gate_logits(logits).float(), target).sum(1)}
        losses = _cross_entropies(logits, batch["label"])
        if step.index < self.warm_up:
            count = losses.shape[1] + 1
            return {"heads": (losses * torch.arange(count, 1, -1, device=losses.device)).sum(1)}
        if not self.gates:
            return {"heads": losses.sum(1)}
        with torch.no_grad():
            share = exit_probabilities(exits.gate_logits(logits).float().sigmoid())
            scale = losses.sum(1) / (share * losses).sum(1).clamp_min(1e-8)
        return {"heads": (share * losses).sum(1) * scale}

    def _targets(self, losses: Tensor, costs: Tensor) -> Tensor:
        """(B, L + 1) cross-entropies -> (B, L) float32: 1 at and behind the exit where loss and cost are least."""
        best = (losses + self.cost_weight * costs).argmin(1, keepdim=True)
        return (torch.arange(losses.shape[1] - 1, device=losses.device) >= best).float()

    def _states(self, cast: Cast, batch: dict) -> tuple[list[Tensor], Tensor]:
        if _STATES in batch:
            if any(weight.requires_grad for weight in cast.model.backbone.parameters()):
                raise ValueError("the encoder trains: write `tuner: linear_head`, or `frozen: false` in multi_exit")
            widths = [head.in_features for head in cast.model.attached[EXITS].heads]
            *states, last = batch[_STATES].split([*widths, cast.model.attached[HEAD].in_features], 1)
            return states, last
        return exit_states(cast.model, batch, cast.model.attached[EXITS].blocks)


class _Once:
    """The pooled states of all rows at all exits and at the end beside one another, (N, sum D_l + D), computed once."""

    @torch.no_grad()
    def __init__(self, cast: Cast, data: Rows):
        model, found = cast.model.eval(), []
        for part in np.array_split(np.arange(len(data)), -(-len(data) // _BATCH_ROWS)):
            batch = to_device(data.batch(part), model.device)
            states, last = exit_states(model, batch, model.attached[EXITS].blocks)
            found.append(torch.cat([*states, last], 1).float().cpu())
        self.states = torch.cat(found)
        self.lengths = data.lengths

    def __len__(self) -> int:
        return len(self.states)

    def batch(self, rows: np.ndarray) -> Tensor:
        return self.states[torch.from_numpy(np.asarray(rows))]


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, L, C), (B,) -> (B, L); rows without a label count 0."""
    labels = labels.unsqueeze(1).expand(logits.shape[:2])
    return nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=-1)


def _balanced(gates: Tensor, target: Tensor) -> Tensor:
    """(B, L) binary cross-entropy of gates before their sigmoid, the ones weighted by zeros / ones, at most 5."""
    ones = target.sum(0)
    weight = ((len(target) - ones) / ones.clamp_min(0.1)).clamp_max(5.0)
    return nn.functional.binary_cross_entropy_with_logits(gates, target, reduction="none", pos_weight=weight)
