"""Views are what the model sees of an example at one step, drawn anew each time.

A view is a class in a file of this folder, named after the file in CamelCase. It draws from
`engine.randomness.uniform(step.seed, step.index, batch["rows"], ..., stream=draw)`, so that what a row looks
like depends on nothing but seed, step, row and draw.
"""

from __future__ import annotations

from ..engine.ingredient import Ingredient
from ..engine.step import Step


class View(Ingredient):
    """A random transformation of a batch."""

    def view(self, batch: dict, step: Step, draw: int = 0) -> dict:
        """A new batch of the same rows (the given one is left alone); what was hidden is added to it.

        draw: 0, 1, ... gives independent views of the same rows at the same step.
        """
        raise NotImplementedError
