"""Heads and gates at inner depths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class EarlyExits(nn.Module):
    """Linear classifiers after some blocks, and a gate for each that says whether to stop there.

    g_l = sigmoid(w_l . [max_c p, H(p), p_(1) - p_(2), H(p^2 / sum p^2)] + b_l), p = softmax of head l, detached

    widths: of the states at each exit, outputs: C. blocks: after which block each head stands. costs: of leaving
    there, and at the end, as shares of the whole model's; one more than blocks.
    Raises ValueError where these do not agree in number.
    """

    def __init__(self, widths: Sequence[int], outputs: int, blocks: Sequence[int], costs: Sequence[float]):
        super().__init__()
        if len(costs) != len(blocks) + 1:
            raise ValueError(f"{len(blocks)} exits and the end have {len(blocks) + 1} costs, not {len(costs)}")
        if len(widths) != len(blocks):
            raise ValueError(f"{len(blocks)} exits have {len(blocks)} widths, not {len(widths)}")
        self.blocks = tuple(blocks)
        self.heads = nn.ModuleList(nn.Linear(width, outputs) for width in widths)
        self.gates = nn.ModuleList(nn.Linear(4, 1) for _ in blocks)
        for head in self.heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.register_buffer("costs", torch.tensor([float(cost) for cost in costs]))

    @property
    def keep(self) -> tuple[str, ...]:
        """The parts whose outputs the heads read."""
        return tuple(f"block.{i}" for i in self.blocks)

    def logits(self, states: Sequence[Tensor]) -> Tensor:
        """(B, D_l) of every exit -> (B, L, C) float32."""
        return torch.stack([head(state).float() for head, state in zip(self.heads, states, strict=True)], 1)

    def gate_logits(self, logits: Tensor) -> Tensor:
        """(B, L, C) -> (B, L), the gates before their sigmoid; no gradient into the heads."""
        said = uncertainty(logits.detach())
        return torch.cat([gate(said[:, i]) for i, gate in enumerate(self.gates)], 1)


def uncertainty(logits: Tensor) -> Tensor:
    """(..., C) -> (..., 4): largest probability, entropy, margin of the two largest, entropy of p^2 / sum p^2."""
    p = logits.softmax(-1)
    top = p.topk(2, -1).values
    squared = p.square() / p.square().sum(-1, keepdim=True)
    return torch.stack([top[..., 0], _entropy(p), top[..., 0] - top[..., 1], _entropy(squared)], -1)


def exit_probabilities(gates: Tensor) -> Tensor:
    """P_l = max(0, min(g_l, 1 - sum_{k<l} g_k)): (B, L) of gates in [0, 1] -> (B, L), that a row leaves at l."""
    before = gates.cumsum(1) - gates
    return torch.minimum(gates, 1 - before).clamp_min(0)


def stop_probabilities(exits: Tensor) -> Tensor:
    """p_l = P_l / prod_{k<l} (1 - p_k), in [0, 1]: (B, L) -> (B, L), that a row which got to l leaves there."""
    found: list[Tensor] = []
    reached = torch.ones_like(exits[:, 0])
    for share in exits.unbind(1):
        found.append((share / reached.clamp_min(1e-12)).clamp(0, 1))
        reached = reached * (1 - found[-1])
    return torch.stack(found, 1)


def first_exit(stops: Tensor) -> Tensor:
    """(B, L) bool -> (B,): the first exit where it is True, L where none is."""
    return torch.cat([stops, torch.ones_like(stops[:, :1])], 1).to(torch.uint8).argmax(1)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)
