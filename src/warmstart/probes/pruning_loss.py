"""What the smallest weights are worth."""

from __future__ import annotations

import copy

import numpy as np
import torch

from ..data.dataset import Dataset, Splits
from ..engine.batches import to_device
from ..engine.cast import Cast
from ..engine.rows import Rows
from ..engine.search import Fitted
from ..engine.step import Step
from ..models import Model
from ..objectives import Objective
from . import Probe

_BATCH = 64
_SPLITS = ("train", "val", "test", "shifted")


class PruningLoss(Probe):
    """Loss of an objective on rows, as the model is and with the smallest entries of its matrices at zero.

    change = |pruned / loss - 1|,  pruned: entries of the backbone's matrices, the `share` with the smallest |w| of all
    matrices together, are zero

    objective: whose terms are summed; what it needs (a head, a decoder) must still be attached to the model. share: 0
        for the loss alone. rows: `train`, `val`, `test`, `shifted`, or `@step`. draws: how often each row is looked at,
        with what the objective and its views draw at steps 0, 1, ...
    Report: `loss`, and with a share `pruned` and `change`; the rows' losses under `examples`.
    Raises LookupError where there are no such rows, ValueError for a share outside [0, 1).
    Source: Hu et al. 2024 (SaRA, arXiv 2409.06633), who find the smallest 10 to 20 % of no effect.
    """

    def __init__(self, objective: Objective, share: float = 0.1, rows: str | Dataset = "test", draws: int = 1):
        if isinstance(rows, str) and rows not in _SPLITS and not rows.startswith("@"):
            raise ValueError(f"rows is one of {', '.join(_SPLITS)}, or @step, not {rows!r}")
        if not 0 <= share < 1:
            raise ValueError(f"share lies in [0, 1), not {share}")
        self.objective, self.share, self.rows, self.draws = objective, share, rows, draws

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        dataset = getattr(data, self.rows) if isinstance(self.rows, str) else self.rows
        if dataset is None:
            raise LookupError(f"the data has no {self.rows} rows")
        model = copy.deepcopy(cast.model).eval()
        each = {"loss": self._losses(model, dataset)}
        if self.share:
            prune(model, self.share)
            each["pruned"] = self._losses(model, dataset)
        report = {name: float(np.mean(values)) for name, values in each.items()}
        if self.share:
            report["change"] = abs(report["pruned"] / report["loss"] - 1)
        return report | {"examples": each}

    @torch.no_grad()
    def _losses(self, model: Model, dataset: Dataset) -> list[float]:
        rows, cast = Rows(model, dataset), Cast(model)
        self.objective.prepare(cast, rows)
        found = []
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // _BATCH)):
            batch = to_device(rows.batch(part), model.device)
            terms = [self.objective.loss(cast, batch, Step(draw, self.draws)) for draw in range(self.draws)]
            total = sum(term.float() for one in terms for term in one.values()) / self.draws
            found += total.expand(len(part)).tolist()
        return found


@torch.no_grad()
def prune(model: Model, share: float) -> None:
    """Set the smallest entries of the backbone's matrices to zero, this share of all of them."""
    matrices = [weight for weight in model.backbone.parameters() if weight.ndim > 1]
    sizes = torch.cat([weight.abs().flatten() for weight in matrices])
    limit = sizes.kthvalue(max(round(share * len(sizes)), 1)).values
    for weight in matrices:
        weight.masked_fill_(weight.abs() <= limit, 0.0)
