"""How the singular values of a model's features are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.readout import encode_rows
from ..engine.search import Fitted
from . import Probe


class SingularSpectrum(Probe):
    """Entropy of the features' singular values, and how little the largest of them stands out.

    s = singular values of F (M, D), p_j = s_j / sum_k s_k
    entropy (SVE) = - sum_j p_j log p_j          lsvr = - log p_1,  both in nats

    rows: `train`, `val`, `test` or `shifted`. unit: each row of F is divided by its length first.
    over: over a table of runs, the metrics that are followed along the grid, which has one path of numbers x. Reports
        for each NAME: mean.NAME, the mean over the runs, and slope.NAME, the least-squares slope of NAME by x.
    Raises LookupError where there are no such rows or a run has no such metric, ValueError for another grid.
    Source: Chen et al. 2023 (arXiv 2309.17002).
    Differs from the official code: it subtracts from each unit row the mean of its entries.
    """

    def __init__(
        self,
        rows: Literal["train", "val", "test", "shifted"] = "test",
        unit: bool = True,
        over: Sequence[str] = ("spectrum.lsvr",),
    ):
        self.rows, self.unit, self.over = rows, unit, tuple(over)

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        dataset = getattr(data, self.rows)
        if dataset is None:
            raise LookupError(f"the data has no {self.rows} rows")
        features = encode_rows(cast.model, dataset).features
        if self.unit:
            features = torch.nn.functional.normalize(features, dim=1)
        return spectrum(features)

    def across(self, runs: Sequence[dict]) -> dict:
        paths = {path for run in runs for path in run["changes"]}
        if len(paths) != 1:
            raise ValueError("singular_spectrum follows metrics along one path of the grid; write one")
        x = np.array([float(run["changes"][next(iter(paths))]) for run in runs])
        found = {}
        for name in self.over:
            for run in runs:
                if name not in run["metrics"]:
                    raise LookupError(f"a run has no metric {name!r}; it has: {', '.join(run['metrics'])}")
            y = np.array([run["metrics"][name] for run in runs])
            spread = ((x - x.mean()) ** 2).sum()
            found[f"mean.{name}"] = float(y.mean())
            found[f"slope.{name}"] = float(((x - x.mean()) * y).sum() / spread) if spread else 0.0
        return found


def spectrum(features: Tensor) -> dict[str, float]:
    """{entropy, lsvr} of (M, D) features."""
    share = torch.linalg.svdvals(features.double())
    share = share / share.sum().clamp_min(1e-300)
    return {"entropy": float(torch.special.entr(share).sum()), "lsvr": float(-share[0].log())}
