"""The shape of the learning rate over a run."""

from __future__ import annotations

import math
from typing import Literal

from ..engine.step import Step
from . import Schedule

SHAPES = ("cosine", "linear", "constant", "wsd", "infinite")


class LearningRate(Schedule):
    """Multiplier of the peak rate, by phase: warm-up, then a shape.

    With p = (index + 1) / total, warm-up w: p / w while p < w; then, with q = (p - w) / (1 - w),
    cosine:   floor + (1 - floor) (1 + cos(pi q)) / 2
    linear:   1 - (1 - floor) q
    constant: 1
    wsd:      1, and over the last `decay` of the run linearly down to floor
    infinite: a cosine from 1 to `hold` over `cooldown` of the run, then `hold` for as long as it goes on, and
              over the last `decay` exponentially down to floor (the anneal before a model is handed out)

    warmup, decay, cooldown: shares of the run. floor, hold: multipliers. decay 0 leaves the last phase out, so
    that a run can be continued at its constant rate.
    Source: Hu et al. 2024 (arXiv 2404.06395) for wsd; Singh et al. 2025 (arXiv 2503.02844) for infinite.
    Differs from the paper: phases are shares of the run, not numbers of steps.
    """

    def __init__(
        self,
        shape: Literal["cosine", "linear", "constant", "wsd", "infinite"] = "cosine",
        warmup: float = 0.1,
        floor: float = 0.0,
        decay: float = 0.2,
        cooldown: float = 0.3,
        hold: float = 0.3,
    ):
        if shape not in SHAPES:
            raise ValueError(f"shape is one of {', '.join(SHAPES)}, not {shape!r}")
        for name, value in {"warmup": warmup, "decay": decay, "cooldown": cooldown}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} is a share of the run in [0, 1), not {value}")
        if shape == "infinite" and decay and not floor > 0:
            raise ValueError("an exponential decay cannot reach 0: give `infinite` a floor above 0, or decay 0")
        self.shape, self.warmup, self.floor = shape, warmup, floor
        self.decay, self.cooldown, self.hold = decay, cooldown, hold

    def value(self, step: Step) -> float:
        done = (step.index + 1) / max(step.total, 1)
        if done < self.warmup:
            return done / self.warmup
        if self.shape in ("wsd", "infinite"):
            return self._phased(done)
        rest = min((done - self.warmup) / (1 - self.warmup), 1.0)
        if self.shape == "cosine":
            return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * rest)) / 2
        return 1.0 if self.shape == "constant" else 1 - (1 - self.floor) * rest

    def _phased(self, done: float) -> float:
        left = min((1 - done) / self.decay, 1.0) if self.decay else 1.0
        if self.shape == "wsd":
            return self.floor + (1 - self.floor) * left
        cooled = min((done - self.warmup) / self.cooldown, 1.0) if self.cooldown else 1.0
        stable = self.hold + (1 - self.hold) * (1 + math.cos(math.pi * cooled)) / 2
        return stable if left == 1.0 else self.floor * (stable / self.floor) ** left
