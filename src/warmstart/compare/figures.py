"""Figures of the board as inline SVG, coloured by the page's style sheet, a tooltip on every mark."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .svg import Axes, drawing, log_ticks, percent, percent_ticks, shorten, tag
from .wording import shots_name

COLOURS = 8  # lines


@dataclass(frozen=True)
class Point:
    """A method at one number of shots; mean, low and high are fractions."""

    name: str
    shots: int | str
    mean: float
    low: float
    high: float
    seconds: float
    floor: bool = False
    front: bool = False
    recommended: bool = False

    @property
    def tooltip(self) -> str:
        return f"{self.name}: {percent(self.mean)} ({percent(self.low)} to {percent(self.high)}), " + (
            f"{self.seconds:.3g} s, {shots_name(self.shots)}"
        )

    @property
    def style(self) -> str:
        return "chosen" if self.recommended else "floor" if self.floor else "plain"


def value_range(points: Sequence[Point]) -> tuple[float, float]:
    """What an axis shows: every method and the best floor; the other floors would squeeze the rest."""
    floors = sorted((p for p in points if p.floor), key=lambda p: p.mean)
    shown = [p for p in points if not p.floor] + floors[-1:]
    low, high = min(p.low for p in shown), max(p.high for p in shown)
    pad = max(0.01, 0.06 * (high - low))
    return max(0.0, low - pad), max(min(1.0, high + pad), low + 0.02)


def interval_bar(point: Point, span: tuple[float, float], best: float) -> Markup:
    """A row's interval for the leaderboard; dotted: the best mean; an arrow: off the scale."""
    axes = Axes(170, 18, span, (0, 1), left=5, right=5, top=0, bottom=0)
    places = (axes.at(min(max(v, span[0]), span[1]), 0)[0] for v in (point.low, point.high, point.mean, best))
    low, high, mean, top = places
    marks = [
        tag("line", x1=5, x2=165, y1=9, y2=9, class_="grid"),
        tag("line", x1=top, x2=top, y1=0, y2=18, class_="guide"),
        tag("line", x1=low, x2=high, y1=9, y2=9, class_=f"interval {point.style}"),
    ]
    title = tag("title", point.tooltip)
    if point.mean < span[0]:
        marks.append(tag("path", title, d="M9 5L4 9L9 13", class_="off-scale"))
    else:
        marks.append(tag("circle", title, cx=mean, cy=9, r=4, class_=f"dot {point.style}"))
    return drawing(170, 18, point.tooltip, marks)


def cost_figure(points: Sequence[Point], scale: tuple[float, float], metric: str) -> Markup:
    """Metric, on the scale given, against seconds; the step line is the Pareto front."""
    seconds = [max(p.seconds, 1e-3) for p in points]
    span = (min(seconds) / 1.6, max(seconds) * 2.2)
    axes = Axes(1040, 400, span, scale, log=True)
    marks = axes.draw(log_ticks(*span), percent_ticks(*axes.y), "seconds a trial, search included (log scale)", metric)
    front = sorted((max(p.seconds, 1e-3), p.mean) for p in points if p.front)
    if front:
        corners = [axes.at(*front[0])]
        for before, after in zip(front, front[1:], strict=False):
            corners += [axes.at(after[0], before[1]), axes.at(*after)]
        corners.append((axes.width - axes.right, corners[-1][1]))
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
        marks.append(tag("path", tag("title", "Pareto front"), d=path, class_="front"))
    places = [axes.at(s, p.mean) for s, p in zip(seconds, points, strict=True)]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    labels = []
    for point, second, (x, y) in zip(points, seconds, places, strict=True):
        (_, low), (_, high) = axes.at(second, point.low), axes.at(second, point.high)
        dot = tag("circle", cx=x, cy=y, r=7 if point.recommended else 5, class_=f"dot {point.style}")
        stem = tag("line", x1=x, x2=x, y1=low, y2=high, class_=f"interval {point.style}")
        marks.append(tag("g", tag("title", point.tooltip), stem, dot))
        labels += place_label(shorten(point.name, 30), x, y, taken, axes, point.style)
    return drawing(axes.width, axes.height, f"{metric} against seconds", [*marks, *labels])


def place_label(
    text: str, x: float, y: float, taken: list[tuple[float, float, float, float]], axes: Axes, style: str
) -> list[ET.Element]:
    """The label at the first free place around the point; none where it would cover another."""
    wide = 6.9 * len(text)
    spots = [(x + 10, y + 4)]
    for rise in (12, 24, 36, 50):
        spots += [
            (x + 8, y - rise),
            (x + 8, y + rise + 4),
            (x - 8 - wide, y - rise),
            (x - 8 - wide, y + rise + 4),
        ]
    spots.insert(1, (x - 10 - wide, y + 4))
    for left, base in spots:
        box = (left, base - 11, left + wide, base + 3)
        inside = box[0] > axes.left and box[2] < axes.width - 2 and axes.top - 8 < box[1]
        inside = inside and box[3] < axes.height - axes.bottom
        if inside and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
        ):
            taken.append(box)
            marks = [tag("text", text, x=left, y=base, class_=f"name {style}")]
            if abs(base - 4 - y) > 14:
                end = left if left > x else left + wide
                marks.insert(0, tag("line", x1=x, y1=y, x2=end, y2=base - 4, class_="leader"))
            return marks
    return []


def shots_figure(lines: Sequence[Sequence[Point]], shots: Sequence[int | str], metric: str) -> Markup:
    """Metric against labels a class, a line a method, best first; the best `COLOURS` are coloured."""
    flat = [point for line in lines for point in line]
    scale = max(0.0, min(p.low for p in flat) - 0.02), min(1.0, max(p.high for p in flat) + 0.02)
    axes = Axes(1040, 420, (-0.25, len(shots) - 0.75), scale, right=210)
    ticks = [(i, "all" if s == "all" else str(s)) for i, s in enumerate(shots)]
    marks = axes.draw(ticks, percent_ticks(*axes.y), "labels a class", metric)
    ends, colour = [], 0
    for number, line in enumerate(lines):
        style = "floor" if line[0].floor else f"s{colour}" if colour < COLOURS else "plain"
        colour += not line[0].floor
        shift = (number - (len(lines) - 1) / 2) * min(5.0, 60 / len(lines))
        group = []
        places = []
        for point in line:
            index = shots.index(point.shots)
            x, y = axes.at(index, point.mean)
            (_, low), (_, high) = axes.at(index, point.low), axes.at(index, point.high)
            x += shift
            places.append((x, y))
            stem = tag("line", x1=x, x2=x, y1=low, y2=high, class_=f"interval thin {style}")
            dot = tag("circle", cx=x, cy=y, r=3.5, class_=f"dot {style}")
            group.append(tag("g", tag("title", point.tooltip), stem, dot))
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        marks.append(tag("g", tag("path", d=path, class_=f"line {style}"), *group, class_="series"))
        ends.append((places[-1][1], places[-1][0], line[0].name, style))
    gap = min(15.0, (axes.height - axes.top - axes.bottom + 20) / len(ends))
    for (y, x, name, style), base in zip(sorted(ends), spread(sorted(e[0] for e in ends), gap, axes), strict=True):
        start = axes.width - axes.right + 14
        marks.append(tag("line", x1=x + 6, y1=y, x2=start - 4, y2=base, class_="leader"))
        if gap > 9:
            text = shorten(name, 28)
            marks.append(tag("text", text, tag("title", name), x=start, y=base + 4, class_=f"name {style}"))
    return drawing(axes.width, axes.height, f"{metric} against labels a class", marks)


def spread(heights: Sequence[float], gap: float, axes: Axes) -> list[float]:
    """Sorted heights moved apart by at least `gap`, kept above the axis."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else max(height, axes.top))
    last = axes.height - axes.bottom
    for i in reversed(range(len(placed))):
        last = placed[i] = min(placed[i], last)
        last -= gap
    return placed
