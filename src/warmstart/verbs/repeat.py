"""Do steps several times."""

from __future__ import annotations

from .state import State


def repeat(state: State, steps: dict, times: int = 2) -> dict:
    """Perform these steps in turn, `times` times; an ingredient in them is built once, and keeps its state.

    A `train` in them begins anew in every round with its optimizer and its clock: each round has its own schedule.
    `@name` is what the step left the last time. Metrics and traces stand under `STEP.ROUND.NAME`, and those of the
    last round also under `NAME`.
    """
    return {str(round): state.perform(str(round)) for round in range(1, times + 1)}
