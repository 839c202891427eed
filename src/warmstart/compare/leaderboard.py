"""The leaderboard of the report: what each method reached and cost at each number of shots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .board import shots_order
from .figures import Point
from .svg import percent

P_HOLM = (
    "p-value of the difference to the best mean at the same labels, Holm-adjusted for all these comparisons; "
    "below 0.05: significantly worse than the best"
)
COSTS = ("seconds", "predict_ms", "trainable_parameters", "peak_memory_mb")


@dataclass(frozen=True)
class Entry:
    """A method with a model at one number of shots; values: name of a column -> typical value over seeds."""

    key: tuple[str, str]
    point: Point
    p_holm: float | None
    values: Mapping[str, float]
    stopped: tuple[str, ...]


Groups = Mapping[int | str, Sequence[Entry]]


def count(value: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def quantity(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def p_value(p: float | None) -> str:
    return "–" if p is None or not math.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


class Column(NamedTuple):
    name: str
    heading: str
    meaning: str
    written: Callable[[float], str]


COLUMNS = (
    Column("macro_f1", "macro F1", "mean over classes of the harmonic mean of precision and recall", percent),
    Column("ece", "ECE", "expected calibration error: mean distance of confidence from accuracy", percent),
    Column("shifted_accuracy", "shifted", "accuracy on the shifted rows", percent),
    Column("shifted_auroc", "AUROC", "how well confidence tells test rows from rows of unseen classes", percent),
    Column("shifted_fpr95", "FPR95", "unseen-class rows accepted where 95 % of test rows are", percent),
    Column("forgetting", "forgetting", "loss of what the start model could do", lambda v: f"{v:.3g}"),
    Column("seconds", "seconds", "seconds a trial, search included, shared encoding excluded", quantity),
    Column("predict_ms", "predict, ms", "milliseconds to predict one row", quantity),
    Column("trainable_parameters", "trainable", "trainable parameters", count),
    Column("peak_memory_mb", "memory, MB", "peak memory of a trial in megabytes", lambda v: f"{v:,.0f}"),
)


def columns_of(entries: Sequence[Entry]) -> list[Column]:
    return [column for column in COLUMNS if any(column.name in entry.values for entry in entries)]


def leaderboard(board: Mapping[str, Any]) -> Groups:
    """Number of shots (most first) -> entries, best mean first."""
    rows: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in board.get("rows", []):
        if row["status"] == "ok":
            rows.setdefault((row["method"], row["model"], str(row["shots"])), []).append(row)
    summary = [s for s in board.get("summary", []) if s["mean"] is not None]
    several = len({s["model"] for s in summary}) > 1
    winner = board.get("recommended") or {}
    groups: dict[int | str, list[Entry]] = {}
    for line in sorted(summary, key=lambda s: (-shots_order(s["shots"]), -s["mean"])):
        found = rows.get((line["method"], line["model"], str(line["shots"])))
        if found:
            at = groups.setdefault(line["shots"], [])
            at.append(entry(line, found, several, winner if len(groups) == 1 else {}))
    return groups


def entry(
    line: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], several: bool, winner: Mapping[str, Any]
) -> Entry:
    """A line of the board's summary with its rows; several: whether names need their model."""
    values = {column.name: typical(rows, column.name) for column in COLUMNS}
    key, mean, floor = (line["method"], line["model"]), line["mean"], bool(rows[0].get("floor"))
    point = Point(
        name=" · ".join(key) if several else key[0],
        shots=line["shots"],
        mean=mean,
        low=mean if line["low"] is None else line["low"],
        high=mean if line["high"] is None else line["high"],
        seconds=values["seconds"],
        floor=floor,
        front=bool(line["pareto"]) and not floor,
        recommended=(winner.get("method"), winner.get("model")) == key,
    )
    stopped = tuple(sorted({str(row["stopped"]) for row in rows if row.get("stopped")}))
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    return Entry(key, point, line["p_holm"], known, stopped)


def typical(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Over seeds, the median of a cost and the mean of anything else; NaN where no row says."""
    values = [row[name] for row in rows if row.get(name) is not None and math.isfinite(row[name])]
    if not values:
        return math.nan
    return float(np.median(values) if name in COSTS else np.mean(values))
