"""Which experts a router takes for which rows."""

from __future__ import annotations

import copy

import numpy as np
import torch

from ..data.dataset import DataError, Splits
from ..engine.batches import to_device
from ..engine.cast import Cast
from ..engine.rows import Rows
from ..engine.search import Fitted
from ..engine.step import Step
from ..models.reading import reading, take_gates
from ..objectives import Objective
from . import Probe

_BATCH = 64


class ExpertUsage(Probe):
    """The share of the gates that rows of a type give to the half of the experts that is theirs.

    Q_ij = sum over row i's real tokens of expert j's gate, of a layer;  share_i = sum of Q_ij over the half of row i's
    type (j < N / 2 for type 1) / sum over all j; means over layers, then over the rows of each type
    `type_0`, `type_1`: of either type; `matching`: the mean of both, 0.5 where a router does not tell them apart.

    objective: whose forward is read. role: the column of types. rows: test rows at most.
    Raises ValueError for a model without routed layers, DataError for rows without types.
    Source: Dou et al. 2023 (arXiv 2312.09979), their figure of experts by task.
    """

    def __init__(self, objective: Objective, role: str = "task_type", rows: int = 1000):
        self.objective, self.role, self.rows = objective, role, rows

    @torch.no_grad()
    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        test = data.test.take(np.arange(min(len(data.test), self.rows)))
        rows = Rows(cast.model, test)
        if self.role not in rows.extra:
            raise DataError(f"{test.name}: no column {self.role!r} of types 0 and 1")
        twin = copy.deepcopy(cast.model).eval()
        alone, first, types = Cast(twin), [], []
        self.objective.prepare(alone, rows)
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // _BATCH)):
            batch = to_device(rows.batch(part), twin.device)
            with reading(batch):
                self.objective.loss(alone, batch, Step())
            gates = take_gates(twin)
            if not gates:
                raise ValueError("expert_usage needs a model with routed layers: tune it with a mixture of experts")
            first.append(torch.stack([_first_half(one) for one in gates.values()]).mean(0).cpu())
            types.append(batch[self.role].cpu())
        first, types = torch.cat(first), torch.cat(types).bool()
        mine = {"type_0": 1 - first[~types], "type_1": first[types]}
        report = {name: shares.mean().item() for name, shares in mine.items()}
        examples = {name: shares.tolist() for name, shares in mine.items()}
        return report | {"matching": sum(report.values()) / 2, "examples": examples}


def _first_half(gates: torch.Tensor) -> torch.Tensor:
    """(B,) share of the first half of the experts in gates (B, T, N)."""
    mass = gates.sum(1).float()
    return mass[:, : mass.shape[1] // 2].sum(1) / mass.sum(1)
