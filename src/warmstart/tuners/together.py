"""Several tuners at once, which train together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..engine.rows import Rows
from ..engine.step import Step
from ..models import Model
from . import Tuner

if TYPE_CHECKING:
    from ..engine.learner import Learner


class Together(Tuner):
    """What each of several tuners trains, trains; their changes stand in the model side by side.

    w trains where any of them trains it. MAM (mix-and-match) is a prefix in attention beside a parallel adapter.

    tuners: applied, and folded, in this order: one that wraps what others changed (scale_shift; soft prompts, which
        wrap whole blocks) goes last.
    Raises ValueError where there are none.
    Source: combinations as in He et al. 2021 (arXiv 2110.04366).
    """

    def __init__(self, tuners: list[Tuner]):
        if not tuners:
            raise ValueError("together needs tuners: write `together: {tuners: [lora, norm_affine]}`")
        self.tuners: Sequence[Tuner] = tuple(tuners)

    @property
    def folds(self) -> bool:
        return all(tuner.folds for tuner in self.tuners)

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Raises ValueError where one of them does not apply to the model."""
        model.freeze()
        trains = {id(parameter) for _, parameter in model.trainable()}
        for tuner in self.tuners:
            reason = tuner.unfit(model)
            if reason is not None:
                raise ValueError(f"{tuner.name}: {reason}")
            tuner.apply(model, data)
            trains |= {id(parameter) for _, parameter in model.trainable()}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in trains)

    def choose(self, learner: Learner) -> None:
        for tuner in self.tuners:
            tuner.choose(learner)

    def after_update(self, model: Model, step: Step) -> None:
        for tuner in self.tuners:
            tuner.after_update(model, step)

    def fold(self, model: Model) -> None:
        for tuner in self.tuners:
            tuner.fold(model)
        model.forget({"tune": self.describe()})

    def prefix(self, model: Model) -> int:
        return min(tuner.prefix(model) for tuner in self.tuners)
