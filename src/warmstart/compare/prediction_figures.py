"""Figures of predictions as inline SVG: reliability, confusion, the map of the embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from .svg import Axes, drawing, percent, shorten, tag

CLASS_COLOURS = 10


def reliability_figure(name: str, confidence: np.ndarray, correct: np.ndarray) -> Markup:
    """Accuracy in ten equal bins of confidence; the grey bars are a bin's share of the predictions."""
    axes = Axes(260, 250, (0, 1), (0, 1), left=58, right=22, top=14)
    ticks = [(v, percent(v, 0)) for v in (0, 0.5, 1.0)]
    marks = axes.draw(ticks, ticks, "confidence", "accuracy")
    (x0, y0), (x1, y1) = axes.at(0, 0), axes.at(1, 1)
    marks.append(tag("line", x1=x0, y1=y0, x2=x1, y2=y1, class_="guide"))
    bins = np.clip((confidence * 10).astype(int), 0, 9)
    for number in range(10):
        inside = bins == number
        if not inside.any():
            continue
        share, at, right = (float(v) for v in (inside.mean(), confidence[inside].mean(), correct[inside].mean()))
        (x, y), (_, ideal), (left, _) = axes.at(at, right), axes.at(at, at), axes.at(number / 10, 0)
        tall, wide = 60 * share, (x1 - x0) / 10
        text = f"{percent(share)} of predictions: confidence {percent(at)}, accuracy {percent(right)}"
        bar = tag("rect", x=left + 1, y=y0 - tall, width=wide - 2, height=tall, class_="bar")
        gap = tag("line", x1=x, x2=x, y1=ideal, y2=y, class_="gap")
        dot = tag("circle", cx=x, cy=y, r=3 + 7 * math.sqrt(share), class_="dot soft")
        marks.append(tag("g", tag("title", text), bar, gap, dot))
    return drawing(axes.width, axes.height, f"Reliability of {name}", marks)


def heat_map(counts: np.ndarray, totals: np.ndarray, names: Sequence[str]) -> Markup:
    """Confusion counts (K, K), rows the given label; `totals` (K,) are all predictions of a row's class."""
    size = len(names)
    cell = min(40.0, 460 / size)
    margin = 14 + 7.4 * max(6, min(22, max(len(name) for name in names)))
    down = margin * 0.7 + 20
    share = counts / np.maximum(totals, 1)[:, None]
    wrong = share[~np.eye(size, dtype=bool)]
    worst = float(wrong.max()) if wrong.size and wrong.max() > 0 else 1.0
    marks = [
        tag(
            "text",
            "given ↓  predicted →",
            x=0,
            y=12,
            class_="title",
        )
    ]
    for i, name in enumerate(names):
        centre = (i + 0.5) * cell
        text = shorten(name, 22)
        x, y = margin + centre, down - 8
        marks.append(tag("text", text, x=margin - 8, y=down + centre + 4, text_anchor="end", class_="tick"))
        marks.append(tag("text", text, x=x, y=y, class_="tick", transform=f"rotate(-45 {x:.1f} {y:.1f})"))
        for j, other in enumerate(names):
            strength = share[i, j] if i == j else share[i, j] / worst
            place = {"x": margin + j * cell, "y": down + i * cell}
            title = f"{name} predicted as {other}: {counts[i, j]:.0f} of {totals[i]:.0f} ({percent(share[i, j])})"
            box = tag(
                "rect",
                tag("title", title),
                **place,
                width=cell - 1,
                height=cell - 1,
                class_="hit" if i == j else "miss",
                fill_opacity=f"{0.05 + 0.85 * strength:.2f}",
            )
            marks.append(box)
            if cell >= 20 and counts[i, j]:
                centre_x, centre_y = place["x"] + cell / 2, place["y"] + cell / 2 + 4
                text_style = "count strong" if strength > 0.6 else "count"
                number = f"{100 * share[i, j]:.0f}"
                marks.append(tag("text", number, x=centre_x, y=centre_y, text_anchor="middle", class_=text_style))
    width = margin + size * cell + 0.7 * margin
    return drawing(width, down + size * cell + 4, "Confusion of given and predicted labels", marks)


def class_colour(index: int, classes: int) -> str:
    """A palette colour of the style sheet for few classes; hues a golden angle apart for many."""
    if classes <= CLASS_COLOURS:
        return f"var(--s{index})"
    return f"oklch({(0.58, 0.68, 0.78)[index % 3]} 0.14 {index * 137.5 % 360:.0f})"


def scatter(
    places: np.ndarray, labels: np.ndarray, classes: Sequence[str], wrong: np.ndarray, titles: Sequence[str]
) -> Markup:
    """The embedding map of places (N, 2); points that `wrong` (N,) marks are hollow."""
    span = np.maximum(np.ptp(places, axis=0), 1e-9)
    unit = min(1000 / span[0], 560 / span[1])
    x, y = (20 + (places - places.min(axis=0)) * unit).T
    marks = []
    for i, (label, title) in enumerate(zip(labels.tolist(), titles, strict=True)):
        colour = class_colour(label, len(classes))
        style = f"p c{label}" + (" off" if wrong[i] else "")
        point = {"cx": float(x[i]), "cy": float(y[i]), "r": 4, "style": f"--c:{colour}"}
        marks.append(tag("circle", tag("title", title), class_=style, **point))
    if len(classes) <= 12:
        for label in np.unique(labels[labels >= 0]).tolist():
            inside = labels == label
            spot = {"x": float(np.median(x[inside])), "y": float(np.median(y[inside]))}
            marks.append(tag("text", shorten(classes[label], 24), **spot, text_anchor="middle", class_="centre"))
    return drawing(40 + span[0] * unit, 40 + span[1] * unit, "Two-dimensional map of the embeddings", marks)
