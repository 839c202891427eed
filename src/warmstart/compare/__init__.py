"""`compare`: which of the published ways is the right one for this model and this data?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .._verb import verb

if TYPE_CHECKING:
    from .board import Board


def compare(
    model="zoo/vit-mnist",
    data="digits",
    *,
    shots: str | int | Sequence | None = None,
    methods: str | Sequence[str] | None = None,
    seeds: int = 3,
    budget: str | float | None = None,
    metric: str = "accuracy",
    out: str | Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    engine: str = "local",
    examples: bool = True,
    progress=None,
    command: str = "",
    **columns,
) -> Board | dict:
    """Compare methods of adapting a model to data under one budget; returns the board.

    model: what `load_model` takes, or several of them (a list, or names with commas).
    data: what `load_data` takes; `columns` are its keyword arguments (text, image, label, where, group, time,
        label_names, unlabeled, shifted, shifted_where, skip_bad).
    shots: labels a class: numbers and "all"; by default 1, 4 and 16, less where classes are smaller.
    methods: names of predictors, tuners and recipes, or "all"; by default the closed-form ones, `linear_head`,
        `freeze`, `lora` and `full`.
    budget: seconds a trial may take (method x shots x seed), search included, shared encoding excluded.
    out: the folder of the result; a new one under runs/ by default. An existing one gets the methods that it
        does not have yet; with `resume` it must have been made with these very arguments.
    dry_run: return the plan and its estimate instead. engine: "local" or "ray".
    progress: an object with `start(session)`, `planning(line)`, `trial(trial, row)` and `stop()`.
    Raises DataError or ModelError, one line each, for what the user can mend.
    """
    from .command import run_comparison

    return run_comparison(
        model, data, columns, shots, methods, seeds, budget, metric, out, resume, dry_run, engine, examples,
        progress, command,
    )  # fmt: skip


verb(__name__, compare)
