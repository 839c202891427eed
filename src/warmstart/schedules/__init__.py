"""Schedules yield numbers over steps.

A schedule is a class in a file of this folder, named after the file in CamelCase. Any numeric parameter that
is annotated `float | Schedule` takes one.
"""

from __future__ import annotations

from ..engine.ingredient import Ingredient
from ..engine.step import Step


class Schedule(Ingredient):
    """A number that changes over the steps of a run."""

    def value(self, step: Step) -> float:
        """The number in force for the update `step.index` of `step.total`."""
        raise NotImplementedError

    def observe(self, step: Step, **measured: float) -> None:
        """What happened at this step (loss terms, probes), for schedules that react to it."""
