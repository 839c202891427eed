"""What each choice of a grid of runs is worth, and whether that depends on how much may train."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import permutations

import numpy as np

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.search import Fitted
from . import Probe


class FactorialGrid(Probe):
    """Methods against budgets: y_ab is the metric of method a at budget b, of B budgets.

    a_over_c_at_b = y_ab - y_cb    a_over_c = mean_b (a_over_c_at_b)    a_over_c_growth = a_over_c_at_B - a_over_c_at_1

    A method is what the grid put at the path `axis`: an ingredient by its name, else the value. Its runs, ordered by
    the budget metric, are its budgets 1 .. B; a method of one run (a linear probe) stands at every budget. Runs of one
    method and one budget are averaged.
    Of each method also its mean `a`. `budget_spread` is how far methods of B budgets lie apart in them, as the largest
    difference over the smaller of the two: near 0, methods are compared at equal budgets.

    axis: a path of the grid. metric: what is compared. budget: the metric by which runs are ordered.
    Raises LookupError where a run lacks a metric or was not changed at `axis`; ValueError where methods differ in their
    number of budgets.
    Source: the grids of He et al. 2021 (arXiv 2110.04366) and Cappellazzo et al. 2023 (arXiv 2312.03694).
    """

    def __init__(self, axis: str, metric: str = "accuracy", budget: str = "cost.trainable"):
        self.axis, self.metric, self.budget = axis, metric, budget

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        raise ValueError("factorial_grid reads a table of runs: write it under `across`, beside `grid`")

    def across(self, runs: Sequence[dict]) -> dict:
        curves = self._curves(runs)
        count = max(len(curve) for curve in curves.values())
        odd = [name for name, curve in curves.items() if len(curve) not in (1, count)]
        if odd:
            raise ValueError(f"{odd[0]} has {len(curves[odd[0]])} budgets where others have {count}: give all as many")
        values = {name: np.broadcast_to(list(curve.values()), count) for name, curve in curves.items()}
        report = {str(name): float(value.mean()) for name, value in values.items()}
        for name, other in permutations(values, 2):
            gap, pair = values[name] - values[other], f"{name}_over_{other}"
            report[pair] = float(gap.mean())
            report |= {f"{pair}_at_{i + 1}": float(one) for i, one in enumerate(gap)}
            report[f"{pair}_growth"] = float(gap[-1] - gap[0])
        report["budget_spread"] = _spread([list(curve) for curve in curves.values() if len(curve) == count])
        return report

    def _curves(self, runs: Sequence[dict]) -> dict[Hashable, dict[float, float]]:
        """Method -> budget -> mean of the metric, by rising budget."""
        found: dict[Hashable, dict[float, list[float]]] = {}
        for run in runs:
            if self.axis not in run["changes"]:
                raise LookupError(f"no path {self.axis!r} in the grid; it has: {', '.join(run['changes'])}")
            budgets = found.setdefault(_level(run["changes"][self.axis]), {})
            budgets.setdefault(_of(run, self.budget), []).append(_of(run, self.metric))
        return {
            name: {budget: float(np.mean(curve[budget])) for budget in sorted(curve)} for name, curve in found.items()
        }


def _spread(budgets: list[list[float]]) -> float:
    columns = np.array(budgets)
    return float((columns.max(0) / columns.min(0) - 1).max())


def _level(value) -> Hashable:
    """An ingredient by its name, any other value as it is written."""
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value))
    return value if isinstance(value, Hashable) else str(value)


def _of(run: dict, name: str) -> float:
    if name not in run["metrics"]:
        raise LookupError(f"a run has no metric {name!r}; it has: {', '.join(run['metrics'])}")
    return run["metrics"][name]
