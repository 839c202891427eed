"""Runs recipes: their steps in order, on one process or several, going on where an interrupted run stopped."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import ingredients, verbs
from ._verb import verb as _callable_module
from .adapted import Adapted
from .data.dataset import DataError, Dataset, Splits
from .data.load import load_data
from .engine.calibration import expected_calibration_error
from .engine.loop import Trace, TrainingFailed
from .engine.readout import class_scores, labelled
from .engine.search import Fitted
from .models import Model, load_model
from .models.builders import build_model
from .models.errors import ModelError
from .recipe import BASE_ARM, Recipe, RecipeError, Step, load_recipe
from .recipe_sources import arguments
from .run_record import STEPS, open_record, versions, write_record
from .verbs.state import Progress, State, frozen
from .zoo import write_card


@dataclass
class Run:
    """What a recipe left.

    metrics: accuracy, macro_f1, ece on the test rows where something answers, and `STEP.NAME` of every probe.
    examples: for metrics that are means over examples, the value of each example.
    trace: losses and validations by training step. reports: by probe step. seconds: by step.
    fitted: the predictor that answers; None where the model's attached head does, or nothing.
    """

    recipe: Recipe
    model: Model
    fitted: Fitted | None
    adapted: Adapted | None
    metrics: dict[str, float]
    examples: dict[str, np.ndarray]
    trace: dict[str, Trace]
    reports: dict[str, dict]
    seconds: dict[str, float] = field(default_factory=dict)


def run_recipe(
    recipe: str | Path | dict | Recipe,
    *,
    model=None,
    data=None,
    seed: int = 0,
    out: str | Path | None = None,
    overrides: dict | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    trackers: list[str] | None = None,
) -> Run:
    """Run a recipe's steps; returns what they left.

    recipe: a packaged one's name, a YAML file, or the same as a dict. overrides: path -> value, as in an arm.
    model, data: in place of the recipe's: what `load_model` takes, and what `load_data` takes or its arguments.
    seed: of every draw, view and random weight. trackers: accelerate's, for training steps.
    out: a folder for `run.json`, for checkpoints and for what `save` writes. A run that was interrupted there
        goes on, bit for bit as if it had not been; finished steps are not repeated. A recipe named zoo/NAME
        takes the folder NAME in it, and leaves nothing but the model, its card and `run.json` there.
    Under `accelerate launch` every process calls this; only the main one writes and reports progress.
    Raises RecipeError, ModelError or DataError, one line each.
    """
    recipe = load_recipe(recipe)
    if overrides:
        recipe = recipe.changed(overrides)
    own_model, own_data = model is None, data is None
    source = recipe.content.model if own_model else model
    data = recipe.content.data if own_data else data
    if source is None or data is None:
        missing = "model" if source is None else "data"
        raise RecipeError(f"{recipe.where}: no {missing}: write `{missing}:` in the recipe, or give one to run it with")
    in_zoo = recipe.name.startswith("zoo/")
    folder = None if out is None else Path(out) / (recipe.name.removeprefix("zoo/") if in_zoo else "")
    main = is_main_process()
    record = open_record(recipe, source, data, seed, folder, main)
    with _told_of(recipe, "data", own_data):
        splits = load_data(**arguments(data))
    with _told_of(recipe, "model", own_model):
        state = _begin(source, splits, seed)
    state.out, state.main, state.trackers = Path(out) if in_zoo and out is not None else folder, main, trackers
    if on_progress is not None and main:
        state.report = on_progress
    found = _execute(recipe, state, folder, record)
    found.metrics, found.examples = _metrics(state)
    if folder is not None and main:
        write_record(folder, record | {"finished": True, "metrics": found.metrics, "versions": versions()})
        if in_zoo:
            shutil.rmtree(folder / STEPS, ignore_errors=True)
    if in_zoo and main:
        write_card(found, record, folder)
    return found


def adapt(recipe: str, model: Model, rows: Dataset, unlabeled: Dataset | None = None, seed: int = 0) -> Adapted:
    """Run a recipe on these labelled rows as a method of adapting this model; returns what predicts.

    Raises RecipeError where nothing answers at its end.
    """
    recipe = load_recipe(recipe)
    state = _begin(model, Splits(train=rows, test=rows, unlabeled=unlabeled), seed)
    adapted = _execute(recipe, state, None, {}).adapted
    if adapted is None:
        raise RecipeError(
            f"{recipe.where}: no classifier is left at its end: fit a predictor or train with cross_entropy"
        )
    return adapted


def run_and_print(recipe: str | Path, arm: str | None = None, **arguments) -> Run:
    """`warmstart run`: run a recipe, or one of its arms, with a progress line for each step; print the metrics."""
    from .run_display import Display

    recipe = load_recipe(recipe).arm(arm or BASE_ARM)
    with Display(is_main_process()) as display:
        found = run_recipe(recipe, on_progress=display.update, **arguments)
    display.result(found)
    return found


def is_main_process() -> bool:
    """False in all but one of the processes that `accelerate launch` starts."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _told_of(recipe: Recipe, key: str, own: bool) -> Iterator[None]:
    """A fault in what the recipe names says where that is written. own: it is the recipe's, not the caller's."""
    try:
        yield
    except (DataError, ModelError) as error:
        if not own:
            raise
        raise type(error)(f"{recipe.where}: {key}: {error}") from error


def _begin(source, splits: Splits, seed: int) -> State:
    kept = copy.deepcopy(source) if isinstance(source, torch.nn.Module) else None

    def begin(pretrained: bool, seed: int = seed) -> Model:
        if isinstance(source, dict):
            return build_model(source, seed=seed)
        if kept is None:
            return load_model(source, pretrained=pretrained, seed=seed)
        if pretrained:
            return load_model(copy.deepcopy(kept))
        return load_model(getattr(kept, "source", ""), pretrained=False, seed=seed)

    return State(splits, begin, begin(True), seed)


def _execute(recipe: Recipe, state: State, folder: Path | None, record: dict) -> Run:
    seconds: dict[str, float] = {}
    for place, name in enumerate(recipe.steps):
        start = time.perf_counter()
        root = None if folder is None else folder / STEPS / f"{place + 1}-{name}"
        result = _perform(recipe, recipe.wanted, name, name, recipe.steps[name], state, root)
        seconds[name] = time.perf_counter() - start
        if folder is not None and state.main:
            before = record["steps"].get(name, {}).get("seconds", 0.0)
            record["steps"][name] = {"verb": recipe.steps[name].verb, "seconds": before + seconds[name], **result}
            write_record(folder, record)
    return _found(recipe, state, seconds)


def _found(recipe: Recipe, state: State, seconds: dict[str, float]) -> Run:
    return Run(recipe, state.model, state.fitted, state.adapted, {}, {}, state.traces, state.reports, seconds)


def _perform(
    recipe: Recipe, wanted: set[str], name: str, path: str, step: Step, state: State, folder: Path | None
) -> dict:
    """One step, with those inside it; path: its name, behind those of the steps and rounds that it is in."""

    def inside(round: str) -> dict:
        results, before = {}, (state.step, state.members, state.folder, state.perform)
        for inner, one in step.steps.items():
            nested = ".".join(filter(None, (path, round, inner)))
            below = None if folder is None else folder / (round or "1") / inner
            results[inner] = _perform(recipe, wanted, inner, nested, one, state, below)
        state.step, state.members, state.folder, state.perform = before
        return results

    state.step, state.members, state.made, state.folder, state.perform = path, {}, None, folder, inside
    state.report(Progress(path, step.verb))
    result = _do(recipe, path, step, state)
    if name != path:
        for kept in (state.traces, state.reports):
            if path in kept:
                kept[name] = kept[path]
    if name in wanted and not step.steps:
        state.artifacts[name] = frozen(state.made) if isinstance(state.made, Model) else state.made
    elif name in wanted:
        state.artifacts[name] = frozen(state.model)
    if step.keep is not None:
        state.artifacts[step.keep] = frozen(state.model)
    state.report(Progress(path, step.verb, 1, 1))
    return result


def _do(recipe: Recipe, path: str, step: Step, state: State) -> dict:
    """Run one step; what it draws depends on nothing but the run's seed and the step's name."""
    where = f"{recipe.where}: steps.{path}.{step.verb}"
    verb = verbs.find(step.verb)
    # The same step in every round: without the numbers of the rounds.
    origin = ".".join(piece for piece in path.split(".") if not piece.isdigit())
    try:
        with torch.random.fork_rng():
            torch.manual_seed(state.step_seed)
            slots = ingredients.slot_names(verb)
            if origin not in state.built:
                written = {key: state.resolve(item) if key in slots else item for key, item in step.arguments.items()}
                state.built[origin] = ingredients.fill(verb, written, step.verb)
            else:
                state.resolve([step.arguments[key] for key in slots if key in step.arguments])
            return verb(state, **state.built[origin])
    except (KeyError, IndexError, RecipeError):
        raise
    except (ValueError, LookupError, TrainingFailed) as error:
        raise RecipeError(f"{where}: {' '.join(str(error).split())}") from error


def run_arms(
    recipe: str | Path | dict | Recipe,
    *,
    seed: int = 0,
    arms: list[str] | None = None,
    model=None,
    data=None,
    on_progress: Callable[[str, Progress], None] | None = None,
) -> dict[str, Run]:
    """Run a recipe's arms under one seed; arms that begin with the same steps share their results.

    arms: which, `method` (the recipe itself) among them; None for all. on_progress: (arm, where it is).
    """
    recipe = load_recipe(recipe)
    chosen = {name: recipe.arm(name) for name in (recipe.arm_names if arms is None else arms)}
    sources = {n: (one.content.model if model is None else model) for n, one in chosen.items()}
    tables = {n: (one.content.data if data is None else data) for n, one in chosen.items()}
    wanted = set().union(*(one.wanted for one in chosen.values()))
    prefixes = {name: _prefixes(one, sources[name], tables[name]) for name, one in chosen.items()}
    seen = Counter(key for keys in prefixes.values() for key in keys)
    loaded: dict[str, Splits] = {}
    shared: dict[str, tuple[State, dict[str, float]]] = {}
    found = {}
    for name, arm in chosen.items():
        keys, source = prefixes[name], tables[name]
        done = max((i for i, key in enumerate(keys) if key in shared), default=None)
        if done is None:
            known = json.dumps(source, default=str) if not isinstance(source, Splits) else ""
            if known not in loaded:
                with _told_of(arm, "data", data is None):
                    loaded[known] = load_data(**arguments(source))
            with _told_of(arm, "model", model is None):
                state, seconds, done = _begin(sources[name], loaded[known], seed), {}, 0
        else:
            state, seconds = _twin(shared[keys[done]][0]), dict(shared[keys[done]][1])
        if on_progress is not None:
            state.report = functools.partial(on_progress, name)
        for place, (step, content) in enumerate(list(arm.steps.items())[done:], done):
            start = time.perf_counter()
            _perform(arm, wanted, step, step, content, state, None)
            seconds[step] = time.perf_counter() - start
            key = keys[place + 1]
            if seen[key] > 1 and key not in shared:
                shared[key] = (_twin(state), dict(seconds))
        found[name] = _found(arm, state, seconds)
        found[name].metrics, found[name].examples = _metrics(state)
    return found


def _prefixes(recipe: Recipe, model, data) -> list[str]:
    """What decides the state of a run after 0, 1, 2 ... of its steps, beside its seed."""
    source = model if isinstance(model, str | dict) else id(model)
    table = data if isinstance(data, str | dict) else id(data)
    steps = [[name, step.model_dump()] for name, step in recipe.steps.items()]
    return [json.dumps([source, table, steps[:end]], default=str) for end in range(len(steps) + 1)]


def _twin(state: State) -> State:
    """A state that goes its own way from here; what is never changed is shared."""
    return dataclasses.replace(
        state,
        model=copy.deepcopy(state.model),
        artifacts=dict(state.artifacts),
        traces=dict(state.traces),
        reports=dict(state.reports),
        built=copy.deepcopy(state.built),
    )


def _metrics(state: State) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """(metrics, per-example values of those that are means over examples)."""
    found: dict[str, float] = {}
    examples: dict[str, np.ndarray] = {}
    test = state.data.test
    rows = labelled(test)
    if state.adapted is not None and len(rows):
        from sklearn.metrics import f1_score

        labels = test.labels[rows]
        scores = class_scores(state.model, test.take(rows), state.fitted)
        probabilities = scores.softmax(1).numpy()
        answers = probabilities.argmax(1)
        examples["accuracy"] = (answers == labels).astype(np.float64)
        found["accuracy"] = float(examples["accuracy"].mean())
        found["macro_f1"] = float(f1_score(labels, answers, average="macro", zero_division=0))
        found["ece"] = expected_calibration_error(probabilities.max(1), answers == labels)
    for step, report in state.reports.items():
        found |= {f"{step}.{name}": value for name, value in report.items() if isinstance(value, int | float)}
        examples |= {f"{step}.{name}": np.asarray(values) for name, values in report.get("examples", {}).items()}
    return found, examples


_callable_module(__name__, run_recipe)
