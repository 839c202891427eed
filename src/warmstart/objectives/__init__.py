"""Objectives are differentiable training signals.

An objective is a class in a file of this folder, named after the file in CamelCase. Its constructor's
signature is its configuration; it holds no weights: what it needs (a head, a decoder, a projection) it attaches
to a member of the cast in `prepare`.

    class CrossEntropy(Objective):
        def __init__(self, label_smoothing: float = 0.0): ...
        def prepare(self, cast, data): ...          # attach a head
        def loss(self, cast, batch, step): return {"cross_entropy": ...}
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..engine.cast import Cast
from ..engine.ingredient import Ingredient
from ..engine.rows import Rows
from ..engine.step import Step


class Objective(Ingredient):
    """A loss over the members of a run.

    turns: the phases of an update, each with weights and an optimizer of its own; most have one, `model`.
    """

    turns: ClassVar[tuple[str, ...]] = ("model",)

    def active(self, step: Step) -> tuple[str, ...]:
        """Which of its turns this update takes, in order; `loss` finds the present one in `step.turn`."""
        return self.turns

    def owns(self, turn: str, name: str) -> bool:
        """Whether a weight of this name trains in this turn; what no turn owns trains in the turn `model`."""
        return False

    @property
    def redraws(self) -> bool:
        """Whether what the model sees of a row changes from step to step, so that no state can be cached."""
        return getattr(self, "view", None) is not None

    def prepare(self, cast: Cast, data: Rows) -> None:
        """Attach to the cast what the loss needs and is not there yet, add inputs to the rows.

        Called once before the tuner is applied, and on a copy for rows that are held out.
        """

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        """Terms of the loss: each (B,), one number a row, or () where rows cannot be told apart.

        Unreduced: the learner applies the rows' weights, averages, and sums the terms.
        """
        raise NotImplementedError

    def finish(self, cast: Cast) -> None:
        """Called once, when a training ends."""
