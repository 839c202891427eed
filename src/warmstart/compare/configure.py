"""From a budget in seconds to a fixed configuration, by a short measurement."""

from __future__ import annotations

import math
import time

import numpy as np

from .. import ingredients
from ..engine.examples import Examples
from ..engine.loop import train
from ..engine.search import SEARCH_ROWS, search
from ..predictors import Predictor
from . import tuning
from .floors import MAJORITY
from .methods import Method
from .stage import Stage

_EPOCHS = 20
_FEWEST_STEPS, _MOST_STEPS = 40, 2000
_HEAD_STEPS = 300
_HEAD_RATES, _HEAD_DECAYS = (1e-2, 1e-1, 1e-3), (0.0, 1e-2, 1e-1)
_TIMED_STEPS, _TIMED_ROWS = 3, 128
_SAFETY = 1.25


def unfit(method: Method, stage: Stage) -> str | None:
    """Why a method does not apply to this model and data; None where it does."""
    try:
        if method.kind == "predictor":
            shots = stage.request.shots[0]
            return ingredients.find("predictors", method.name).unfit(stage.examples(shots, 0), stage.classes)
        if method.kind == "tuner":
            return ingredients.find("tuners", method.name).unfit(stage.model)
    except Exception:
        # A fault of the method: it belongs to the rows of its trials.
        return None
    return None


def configure(method: Method, stage: Stage, shots) -> tuple[dict, float]:
    """(configuration, estimated seconds) of one trial within the budget."""
    if method.kind == "floor":
        return {}, 0.1 if method.name == MAJORITY else 1.0
    if method.kind == "recipe":
        return {}, stage.request.budget
    try:
        if method.kind == "predictor":
            return _configure_predictor(ingredients.find("predictors", method.name), stage, shots)
        if ingredients.find("tuners", method.name).head_only:
            return _configure_head(stage, shots)
        return _configure_tuner(method, stage, shots)
    except Exception:
        # It will fail again in its trial, where the fault belongs to its row.
        if method.kind == "predictor":
            return {"folds": 0}, 1.0
        return {"steps": _FEWEST_STEPS, "learning_rates": [1e-3], "holdout": 0, "cut": False}, 1.0


def _configure_predictor(cls: type[Predictor], stage: Stage, shots) -> tuple[dict, float]:
    """As many folds, and configurations, as the budget has room for; without room, the stated defaults."""
    examples = stage.examples(shots, 0)
    configurations = cls.configurations(stage.classes)
    once = _seconds_of_fit(cls, configurations[0], examples, stage.classes)
    smallest = _smallest_class(examples)
    room = stage.request.budget / _SAFETY - once
    if smallest < 2 or room <= 0:
        return {"folds": 0}, once
    searched = min(len(examples), SEARCH_ROWS) / len(examples) * once
    if searched * 5 * len(configurations) > room and cls.cross_validate is not Predictor.cross_validate:
        # All configurations are one computation, which costs less than the sum of its parts.
        start = time.perf_counter()
        search(cls, examples, stage.classes, folds=2)
        searched = (time.perf_counter() - start) / (2 * len(configurations))
    for folds in (5, 3, 2):
        if searched * folds * len(configurations) <= room:
            return {"folds": min(folds, smallest)}, once + searched * folds * len(configurations)
    limit = int(room / (searched * 2))
    if limit >= 2:
        return {"folds": 2, "limit": limit}, once + searched * 2 * limit
    return {"folds": 0}, once


def _seconds_of_fit(cls, configuration: dict, examples: Examples, classes: Examples) -> float:
    """The second time, unless the first took long: what is imported and set up once is not the method's."""
    for _ in range(2):
        start = time.perf_counter()
        cls(**configuration).fit(examples, classes).scores(examples)
        once = time.perf_counter() - start
        if once > 1.0:
            break
    return once


def _configure_head(stage: Stage, shots) -> tuple[dict, float]:
    examples = stage.examples(shots, 0)
    classes = len(stage.splits.classes)
    smallest = _smallest_class(examples)
    folds = min(3, smallest) if smallest >= 2 else 0
    heads = len(_HEAD_RATES) * len(_HEAD_DECAYS)
    start = time.perf_counter()
    trial = [tuning.HeadConfiguration(steps=_TIMED_STEPS)] * (heads * max(folds, 1))
    tuning.train_linear_heads(examples.features, examples.labels, classes, trial)
    step = (time.perf_counter() - start) / _TIMED_STEPS
    steps = _HEAD_STEPS
    while folds and step * steps * _SAFETY > stage.request.budget and steps > _HEAD_STEPS // 4:
        steps //= 2
    config = {
        "steps": steps,
        "learning_rates": list(_HEAD_RATES),
        "weight_decays": list(_HEAD_DECAYS),
        "folds": folds if step * steps <= stage.request.budget else 0,
    }
    return config, step * steps * _SAFETY


def _configure_tuner(method: Method, stage: Stage, shots) -> tuple[dict, float]:
    """Steps and search from the measured time of a step: first enough steps, then a search if there is room."""
    examples, rows = stage.examples(shots, 0), stage.rows(shots, 0)
    sample = rows.take(np.linspace(0, len(rows) - 1, min(_TIMED_ROWS, len(rows))).astype(np.int64))
    start = time.perf_counter()
    learner = tuning.make_learner(stage.model, method.name, sample, examples, _TIMED_STEPS + 1, 1e-4, 0)
    fixed = time.perf_counter() - start
    marks: list[float] = []
    train(learner, on_step=lambda step, terms: marks.append(time.perf_counter()))
    per_step = (marks[-1] - marks[0]) / _TIMED_STEPS
    batch = min(tuning.BATCH_SIZE, len(rows))
    wanted = min(max(_EPOCHS * math.ceil(len(rows) / batch), _FEWEST_STEPS), _MOST_STEPS)
    room = stage.request.budget / _SAFETY
    rates = list(ingredients.find("tuners", method.name).learning_rates)
    holdout, steps = 0, min(wanted, int((room - fixed) / per_step))
    if _smallest_class(examples) >= 2 and len(rates) > 1:
        for parts in (2, 1):
            runs = 1 + parts * len(rates)
            possible = min(wanted, int((room / runs - fixed) / per_step))
            if possible >= wanted / 2:
                holdout, steps = parts, possible
                break
    steps = max(steps, 1)
    runs = 1 + holdout * len(rates)
    config = {"steps": steps, "learning_rates": rates, "holdout": holdout, "cut": steps < wanted}
    return config, runs * (fixed + steps * per_step)


def _smallest_class(examples: Examples) -> int:
    return int(examples.labels.unique(return_counts=True)[1].min())
