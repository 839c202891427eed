"""From a budget in seconds to fixed configurations: what every engine, and every resume, follows."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import torch

from .. import ingredients
from ..data.dataset import DataError
from ..engine.loop import train
from . import tuning
from ..engine.atomic import write_atomic
from .methods import Method
from .request import Request
from .stage import Stage

FILE = "plan.json"
_EPOCHS = 20
_FEWEST_STEPS, _MOST_STEPS = 40, 2000
_HEAD_STEPS = 300
_HEAD_RATES, _HEAD_DECAYS = (1e-2, 1e-1, 1e-3), (0.0, 1e-2, 1e-1)
_TIMED_STEPS = 3
_SAFETY = 1.25


@dataclass(frozen=True)
class Trial:
    """One method, model, shots and seed, with its fixed configuration; estimate: seconds it should take."""

    method: str
    kind: str
    model: str
    shots: int | str
    seed: int
    config: dict
    estimate: float

    @property
    def id(self) -> str:
        return quote(f"{self.method}-{self.model}-{self.shots}-{self.seed}", safe="")


@dataclass
class Plan:
    """All trials in the order they run, the methods left out (and why), and the threads they compute with.

    encode_estimate: seconds of the shared encoding, None where it was cached.
    """

    request: Request
    trials: list[Trial]
    skipped: list[dict]
    threads: int

    @property
    def estimate(self) -> float:
        return sum(trial.estimate for trial in self.trials)

    def write(self, folder: Path) -> None:
        found = {
            "request": self.request.to_json(),
            "threads": self.threads,
            "skipped": self.skipped,
            "trials": [asdict(trial) for trial in self.trials],
        }
        write_atomic(folder / FILE, json.dumps(found, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Raises DataError where the file is missing or broken."""
        try:
            found = json.loads((folder / FILE).read_text())
            trials = [Trial(**trial) for trial in found["trials"]]
            return cls(Request.from_json(found["request"]), trials, found["skipped"], found["threads"])
        except OSError as error:
            raise DataError(f"{folder / FILE}: cannot be read: {error.strerror}; nothing to resume") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / FILE}: not a plan: {error}") from error


def make_plan(request: Request, methods: list[Method], stages: list[Stage], known: Plan | None = None) -> Plan:
    """Trials of all methods that apply; those of `known` stay as they are."""
    trials = [] if known is None else list(known.trials)
    skipped = [] if known is None else list(known.skipped)
    done = {(trial.method, trial.model) for trial in trials} | {(s["method"], s["model"]) for s in skipped}
    for stage in stages:
        for method in methods:
            if (method.name, stage.name) in done:
                continue
            reason = unfit(method, stage)
            if reason is not None:
                skipped.append({"method": method.name, "model": stage.name, "reason": reason})
                continue
            for shots in request.shots:
                config, estimate = configure(method, stage, shots)
                trials += [
                    Trial(method.name, method.kind, stage.name, shots, seed, config, estimate)
                    for seed in range(request.seeds)
                ]
    order = {"floor": 0, "predictor": 1, "tuner": 2, "recipe": 3}
    trials.sort(key=lambda trial: order[trial.kind])
    return Plan(request, trials, skipped, torch.get_num_threads())


def unfit(method: Method, stage: Stage) -> str | None:
    """Why a method does not apply to this model and data; None where it does."""
    if method.kind == "predictor":
        shots = stage.request.shots[0]
        return ingredients.find("predictors", method.name).unfit(stage.examples(shots, 0), stage.classes)
    if method.kind == "tuner":
        return ingredients.find("tuners", method.name).unfit(stage.model)
    return None


def configure(method: Method, stage: Stage, shots) -> tuple[dict, float]:
    """(configuration, estimated seconds) of one trial within the budget, from a short measurement."""
    if method.kind == "floor" or method.kind == "recipe":
        return {}, 1.0 if method.kind == "floor" else stage.request.budget
    if method.kind == "predictor":
        return _configure_predictor(method, stage, shots)
    tuner = ingredients.build("tuners", method.name)
    if tuning.trains_head_only(tuner, stage.model, stage.pool.modality):
        return _configure_head(stage, shots)
    try:
        return _configure_tuner(method, stage, shots)
    except Exception:
        # It will fail again in its trial, where the fault belongs to its row.
        return {"steps": _FEWEST_STEPS, "learning_rates": list(tuner.learning_rates), "holdout": 0, "cut": False}, 1.0


def _configure_predictor(method: Method, stage: Stage, shots) -> tuple[dict, float]:
    """As many folds as the budget has room for; without room, the stated defaults."""
    cls = ingredients.find("predictors", method.name)
    examples = stage.examples(shots, 0)
    smallest = int(examples.labels.unique(return_counts=True)[1].min())
    start = time.perf_counter()
    configurations = cls.configurations(stage.classes)
    cls(**configurations[0]).fit(examples, stage.classes).scores(examples)
    once = time.perf_counter() - start
    for folds in (5, 3, 2):
        estimate = once * (1 + folds * len(configurations)) * _SAFETY
        if estimate <= stage.request.budget and smallest >= 2:
            return {"folds": min(folds, smallest)}, estimate
    return {"folds": 0}, once


def _configure_head(stage: Stage, shots) -> tuple[dict, float]:
    examples = stage.examples(shots, 0)
    classes = len(stage.splits.classes)
    smallest = int(examples.labels.unique(return_counts=True)[1].min())
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
    start = time.perf_counter()
    learner = tuning._learner(stage.model, method.name, rows, examples, _TIMED_STEPS + 1, 1e-4, 0)
    fixed = time.perf_counter() - start
    marks: list[float] = []
    train(learner, on_step=lambda step, terms: marks.append(time.perf_counter()))
    per_step = (marks[-1] - marks[0]) / _TIMED_STEPS
    batch = min(tuning.BATCH_SIZE, len(rows))
    wanted = min(max(_EPOCHS * math.ceil(len(rows) / batch), _FEWEST_STEPS), _MOST_STEPS)
    room = stage.request.budget / _SAFETY
    rates = list(ingredients.find("tuners", method.name).learning_rates)
    smallest = int(examples.labels.unique(return_counts=True)[1].min())
    holdout, steps = 0, min(wanted, int((room - fixed) / per_step))
    if smallest >= 2 and len(rates) > 1:
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
