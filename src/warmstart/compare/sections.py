"""The sections of the report that show numbers, made from the board and the votes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from . import figures, prediction_figures
from .board import shots_order
from .figures import Point
from .leaderboard import Entry, Groups
from .notable import Method, Votes

HEAT_MAP_CLASSES = 20


def words(value: Any) -> str:
    """A value of board.run on one line."""
    if isinstance(value, list | tuple):
        return ", ".join(words(part) for part in value)
    if isinstance(value, Mapping):
        named = value.get("name") or [f"{name} {words(part)}" for name, part in value.items()]
        return words(named)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def cost(group: Sequence[Entry], metric: str) -> dict[str, Any] | None:
    """The figure, and the points that lie below its scale."""
    points = [entry.point for entry in group if math.isfinite(entry.point.seconds)]
    if not points:
        return None
    span = figures.value_range(points)
    inside = [point for point in points if point.mean >= span[0]]
    below = [point for point in points if point.mean < span[0]]
    return {"figure": figures.cost_figure(inside, span, metric), "below": below}


def curve(groups: Groups, metric: str) -> Markup | None:
    if len(groups) < 2:
        return None
    lines: dict[Method, list[Point]] = {}
    for entries in groups.values():
        for entry in entries:
            lines.setdefault(entry.key, []).insert(0, entry.point)
    return figures.shots_figure(list(lines.values()), sorted(groups, key=shots_order), metric)


def calibration(votes: Votes, group: Sequence[Entry]) -> list[dict[str, Any]]:
    """Reliability of the recommended, the best, the best calibrated and the worst calibrated method."""
    known = [e for e in group if not e.point.floor and "ece" in e.values and e.key in votes.methods]
    if not known:
        return []
    by_error = sorted(known, key=lambda e: e.values["ece"])
    picks = [("recommended", e) for e in known if e.point.recommended]
    picks += [("best mean", known[0]), ("best calibrated", by_error[0]), ("worst calibrated", by_error[-1])]
    panels: dict[Method, dict[str, Any]] = {}
    for role, entry in picks:
        if entry.key in panels:
            panels[entry.key]["roles"].append(role)
            continue
        name = entry.point.name
        figure = prediction_figures.reliability_figure(name, *votes.scored(entry.key))
        panels[entry.key] = {
            "name": name,
            "roles": [role],
            "ece": entry.values["ece"],
            "figure": figure,
        }
    return list(panels.values())


def confusion(votes: Votes, method: Method | None, classes: Sequence[str]) -> dict[str, Any] | None:
    """The most confused pairs, and a heat map of all classes or of those that are confused most."""
    if method not in votes.methods:
        return None
    counts = votes.confusion(method, len(classes))
    totals = counts.sum(axis=1)
    wrong = counts * ~np.eye(len(classes), dtype=bool)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:200]
    pairs = [divmod(int(cell), len(classes)) for cell in largest if wrong.flat[cell] > 0]
    picked = list(range(len(classes)))
    if len(classes) > HEAT_MAP_CLASSES:
        picked = list(dict.fromkeys(index for pair in pairs for index in pair))[:HEAT_MAP_CLASSES]
    figure = None
    if len(picked) > 1:
        names = [classes[index] for index in picked]
        figure = prediction_figures.heat_map(counts[np.ix_(picked, picked)], totals[picked], names)
    return {
        "pairs": [(classes[i], classes[j], int(wrong[i, j]), wrong[i, j] / totals[i]) for i, j in pairs[:12]],
        "figure": figure,
        "shown": len(picked),
        "seeds": votes.methods.count(method),
    }


def settings(board: Mapping[str, Any], shots: int | str | None) -> list[tuple[str, Any, str]]:
    """Method, seed and the configuration its search chose, at one number of shots."""
    found = []
    for row in board.get("rows", []):
        if row.get("config") and str(row["shots"]) == str(shots):
            text = ", ".join(f"{name} = {value}" for name, value in flatten(row["config"]))
            found.append((row["method"], row.get("seed"), text))
    return found


def flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines = []
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            lines += flatten(value, f"{path}.")
        else:
            lines.append((path, words(value)))
    return lines
