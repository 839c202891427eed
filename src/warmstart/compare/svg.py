"""SVG elements and axes: every text is escaped, every colour comes from the page's style sheet."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\u00a0%"


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def breakable(text: str) -> Markup:
    """The text, escaped, that may go on in the next line after an underscore."""
    return escape(text).replace("_", Markup("_<wbr>"))


def tag(name: str, *children: str | ET.Element, **attributes: object) -> ET.Element:
    """An SVG element; ElementTree escapes every text and attribute."""
    values = {
        key.rstrip("_").replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else str(value)
        for key, value in attributes.items()
    }
    node = ET.Element(name, values)
    for child in children:
        if isinstance(child, str):
            node.text = child
        else:
            node.append(child)
    return node


def drawing(width: float, height: float, label: str, marks: Sequence[ET.Element]) -> Markup:
    box = f"0 0 {width:.0f} {height:.0f}"
    root = tag("svg", *marks, viewBox=box, role="img", aria_label=label, style=f"max-width:{width:.0f}px")
    return Markup(ET.tostring(root, encoding="unicode"))


@dataclass(frozen=True)
class Axes:
    """Data coordinates to pixels; x is on a log scale where asked."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False
    left: float = 62
    right: float = 16
    top: float = 14
    bottom: float = 46

    def at(self, x: float, y: float) -> tuple[float, float]:
        low, high = map(math.log10, self.x) if self.log else self.x
        along = ((math.log10(x) if self.log else x) - low) / (high - low)
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.left + along * (self.width - self.left - self.right),
            self.height - self.bottom - up * (self.height - self.top - self.bottom),
        )

    def draw(
        self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x: str, y: str
    ) -> list[ET.Element]:
        right, floor = self.width - self.right, self.height - self.bottom
        marks = []
        for value, text in y_ticks:
            _, py = self.at(self.x[0], value)
            marks.append(tag("line", x1=self.left, x2=right, y1=py, y2=py, class_="grid"))
            marks.append(tag("text", text, x=self.left - 8, y=py + 4, text_anchor="end", class_="tick"))
        for value, text in x_ticks:
            px, _ = self.at(value, self.y[0])
            marks.append(tag("line", x1=px, x2=px, y1=floor, y2=floor + 5, class_="axis"))
            marks.append(tag("text", text, x=px, y=floor + 19, text_anchor="middle", class_="tick"))
        middle = (self.top + floor) / 2
        turn = f"rotate(-90 14 {middle:.1f})"
        return [
            *marks,
            tag("line", x1=self.left, x2=right, y1=floor, y2=floor, class_="axis"),
            tag("text", x, x=(self.left + right) / 2, y=self.height - 6, text_anchor="middle", class_="title"),
            tag("text", y, x=14, y=middle, text_anchor="middle", class_="title", transform=turn),
        ]


def percent_ticks(low: float, high: float, most: int = 7) -> list[tuple[float, str]]:
    step = next((s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / s <= most), 0.25)
    first = math.ceil(low / step - 1e-9)
    values = [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(value, percent(value, 0 if step >= 0.01 else 1)) for value in values]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for leads in ((1,), (1, 3), (1, 2, 5)):
        values = [lead * 10.0**d for d in decades for lead in leads if low <= lead * 10.0**d <= high]
        if len(values) >= 4:
            break
    return [(value, f"{value:g}") for value in values]
