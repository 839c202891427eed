"""Experts of a router are kept in use, all of them or each half for its own kind of rows."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.dataset import DataError
from ..engine.cast import Cast
from ..engine.rows import Rows
from ..engine.step import Step
from ..models.reading import take_gates
from . import Objective

_LEAST = 1e-10


class LoadBalance(Objective):
    """Squared coefficient of variation of how much of each expert each row took, in every routed layer.

    Q_ij = sum over row i's real tokens of G_j;  Z_ij = I_ij Q_ij;  loss = mean over layers of var(Z) / mean(Z)^2
    I_ij = 1 + delta where expert j's half is that of row i's type, else 1 - delta; the first half (j < N / 2) is of
    type 1 and the others of type 0. var with the correction for its mean, over all entries of Z.

    So the experts of a half are used alike, and each half more by one of the types: where Z is even, the half that I
    favours is taken (1 - delta) / (1 + delta) times as much as the other. With the delta above 0 of the paper and its
    code that is less, with one below 0 it is more. delta 0: ordinary balancing of all experts, which needs no types.
    delta: in (-1, 1). role: the column of types, 0 or 1.
    Loss (). It reads the gates that the forward of an objective before it left, and comes after that one.
    Raises ValueError for another delta or where no such gates are there, DataError where the rows have no types.
    Source: Dou et al. 2023 (LoRAMoE, arXiv 2312.09979), as in its code, with their weight of 0.1.
    Differs from the paper: padding does not count; the mean over layers, not the sum, so that the weight does not
    depend on the depth.
    """

    def __init__(self, delta: float = 0.1, role: str = "task_type"):
        if not -1 < delta < 1:
            raise ValueError(f"delta lies in (-1, 1), not {delta}")
        self.delta, self.role = delta, role

    def prepare(self, cast: Cast, data: Rows) -> None:
        if self.delta and self.role not in data.extra:
            raise DataError(f"{data.dataset.name}: load_balance needs a column {self.role!r} of types 0 and 1")

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        gates = take_gates(cast.model)
        if not gates or any(len(one) != len(batch["rows"]) for one in gates.values()):
            raise ValueError("load_balance needs a tuner with a router, and an objective before it that runs the model")
        types = batch[self.role] if self.delta else None
        return {
            "load_balance": torch.stack([self._variation(one.sum(1).float(), types) for one in gates.values()]).mean()
        }

    def _variation(self, mass: Tensor, types: Tensor | None) -> Tensor:
        """mass: (B, N) gates summed over the tokens."""
        if types is not None:
            first = torch.arange(mass.shape[1], device=mass.device) < mass.shape[1] // 2
            mine = first == types.bool().unsqueeze(1)
            mass = mass * torch.where(mine, 1 + self.delta, 1 - self.delta)
        return mass.var() / (mass.mean().square() + _LEAST)
