"""Any value, from one number to another."""

from __future__ import annotations

import math
from typing import Literal

from ..engine.step import Step
from . import Schedule

SHAPES = ("linear", "cosine", "step")


class Ramp(Schedule):
    """Goes from one number to another over a part of the run, and stays there.

    With q = (index / (total - 1) - begin) / (end - begin), cut to [0, 1]:
    linear: start + (stop - start) q
    cosine: start + (stop - start) (1 - cos(pi q)) / 2
    step:   start + (stop - start) floor(q n) / n, in n = `levels` equal jumps

    start, stop: the numbers. begin, end: shares of the run, begin < end.
    """

    def __init__(
        self,
        start: float = 0.0,
        stop: float = 1.0,
        begin: float = 0.0,
        end: float = 1.0,
        shape: Literal["linear", "cosine", "step"] = "linear",
        levels: int = 1,
    ):
        if shape not in SHAPES:
            raise ValueError(f"shape is one of {', '.join(SHAPES)}, not {shape!r}")
        if not 0 <= begin < end <= 1:
            raise ValueError(f"begin and end are shares of the run, 0 <= begin < end <= 1, not {begin} and {end}")
        if levels < 1:
            raise ValueError(f"levels counts jumps, at least 1, not {levels}")
        self.start, self.stop, self.begin, self.end, self.shape, self.levels = start, stop, begin, end, shape, levels

    def value(self, step: Step) -> float:
        done = step.index / max(step.total - 1, 1)
        passed = min(max((done - self.begin) / (self.end - self.begin), 0.0), 1.0)
        if self.shape == "cosine":
            passed = (1 - math.cos(math.pi * passed)) / 2
        elif self.shape == "step":
            passed = math.floor(passed * self.levels) / self.levels
        return self.start + (self.stop - self.start) * passed
