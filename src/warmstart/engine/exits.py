"""Where a model with early exits may stop: its states, scores and costs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..models import Model
from ..models.early_exits import exit_probabilities, first_exit, stop_probabilities
from ..models.tower import pool_tokens
from .batches import to_device
from .precision import inference
from .rows import Rows
from .scores import HEAD

EXITS = "exits"
_BATCH_ROWS = 64


def exit_states(model: Model, batch: dict, blocks: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """((B, D_l) behind each of these blocks, (B, D) at the end): each pooled as the tower pools its last states.

    States of tokens go through the tower's last norm first.
    """
    tower = model.tower(batch["modality"])
    encoding = tower.encode(batch[tower.modality], [f"block.{i}" for i in blocks])
    norm = tower.module.get_submodule(tower.layout.norm) if tower.layout.norm else torch.nn.Identity()
    how = tower.pool if tower.pool != "own" else "first" if tower.prefix_tokens else "mean"
    found = []
    for i in blocks:
        state = encoding.states[f"block.{i}"]
        if state.ndim == 4:
            found.append(state.mean((2, 3)))
        else:
            found.append(pool_tokens(norm(state)[:, tower.skip_tokens :], encoding.mask, how))
    return found, encoding.pooled


def exit_costs(model: Model, batch: dict, blocks: Sequence[int]) -> list[float]:
    """Floating point operations of one row up to each of these blocks, and to the end, as shares of the latter."""
    from torch.utils.flop_counter import FlopCounterMode

    tower = model.tower(batch["modality"])
    inputs, counts = batch[tower.modality], []
    for depth in [i + 1 for i in blocks] + [tower.depth]:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            tower.state_before(inputs, depth)
        counts.append(counter.get_total_flops())
    return [count / counts[-1] for count in counts]


@dataclass(frozen=True)
class ExitTable:
    """What a model says at every place where it may stop, for each of N rows.

    logits: (N, L + 1, C), the end last. gates: (N, L) in [0, 1]. costs: (L + 1,), the end costs 1.
    """

    logits: Tensor
    gates: Tensor
    costs: Tensor

    def by_gates(self, threshold: float = 0.5) -> Tensor:
        """(N,) the first exit l with P_l / prod_{k<l} (1 - p_k) >= threshold; L where there is none."""
        return first_exit(stop_probabilities(exit_probabilities(self.gates)) >= threshold)

    def by_confidence(self, threshold: float) -> Tensor:
        """(N,) the first exit whose largest probability reaches the threshold; L where there is none."""
        return first_exit(self.logits[:, :-1].softmax(-1).amax(-1) >= threshold)

    def answers(self, exits: Tensor) -> tuple[Tensor, Tensor]:
        """((N, C) logits, (N,) costs) of rows that leave there."""
        return self.logits[torch.arange(len(exits)), exits], self.costs[exits]


def exit_table(model: Model, dataset: Dataset) -> ExitTable:
    """Raises ValueError for a model without exits, or without a head at its end."""
    if EXITS not in model.attached or HEAD not in model.attached:
        raise ValueError("the model has no early exits: write `compress: {early_exit: ...}` after its head is trained")
    exits, rows, logits, gates = model.attached[EXITS], Rows(model, dataset), [], []
    with inference(model, model.device, None):
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // _BATCH_ROWS)):
            states, last = exit_states(model, to_device(rows.batch(part), model.device), exits.blocks)
            early = exits.logits(states)
            gates.append(exits.gate_logits(early).float().sigmoid().cpu())
            logits.append(torch.cat([early, model.attached[HEAD](last).float().unsqueeze(1)], 1).cpu())
    return ExitTable(torch.cat(logits), torch.cat(gates), exits.costs.cpu())
