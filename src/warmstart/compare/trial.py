"""One trial: a method on a draw, tested."""

from __future__ import annotations

import contextlib
import copy
import errno
import random
import time
from dataclasses import dataclass

import numpy as np
import torch

from .. import ingredients
from ..adapted import Adapted
from ..data.dataset import DataError
from ..engine.budget import PeakMemory
from ..engine.calibration import expected_calibration_error
from ..engine.features import Encoder
from ..engine.forgetting import neighbour_forgetting
from ..engine.search import fit
from . import floors, metrics, tuning
from .board import Row
from .plan import Trial
from .predictions import Predictions
from .stage import Stage

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Outcome:
    """adapted: None for floors, which are no model that could be used."""

    row: Row
    predictions: list[Predictions]
    adapted: Adapted | None = None


def run_trial(trial: Trial, stage: Stage) -> Outcome:
    """Run one trial. Whatever goes wrong in the method fails its row, with the reason, and nothing else.

    Raises DataError where the disk is full, which would fail every row to come.
    """
    memory, start = PeakMemory(), time.perf_counter()
    try:
        with _own_generators(trial.seed):
            outcome = _KINDS[trial.kind](trial, stage)
        outcome.row.peak_memory_mb = memory.megabytes()
        return outcome
    except Exception as error:
        check_disk(error)
        reason = _reason(error)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failed(trial, reason, time.perf_counter() - start)


def failed(trial: Trial, reason: str, seconds: float | None = None) -> Outcome:
    return Outcome(Row(**_identity(trial), status="failed", reason=reason, seconds=seconds), [])


def check_disk(error: Exception) -> None:
    """Raises DataError where the fault is a full disk, as whichever library said it."""
    text = str(error)
    if getattr(error, "errno", None) in _DISK_FULL or "No space left on device" in text or "StorageFull" in text:
        where = f"{error.filename}: " if getattr(error, "filename", None) else ""
        raise DataError(f"{where}no space left on the disk: free some and run again with --resume") from error


def _reason(error: Exception) -> str:
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "out of GPU memory"
    said = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error)):
        return f"out of memory: {said}" if said else "out of memory"
    return f"{type(error).__name__}: {said or 'no message'}"


def _identity(trial: Trial) -> dict:
    return {
        "method": trial.method,
        "model": trial.model,
        "shots": trial.shots,
        "seed": trial.seed,
        "floor": trial.kind == "floor",
    }


@contextlib.contextmanager
def _own_generators(seed: int):
    """Each trial starts from the same generator states, whichever ran before it; the caller's come back."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _floor(trial: Trial, stage: Stage) -> Outcome:
    classes, parts = len(stage.splits.classes), _tested(stage)
    if trial.method == floors.RANDOM:
        logistic = ingredients.find("predictors", "logistic")
        train = stage.examples(trial.shots, trial.seed, random=True)
    start = time.perf_counter()
    if trial.method == floors.RANDOM:
        fitted = fit(logistic, train, stage.classes, folds=3, seed=trial.seed)
        seconds = time.perf_counter() - start
        found = {name: fitted.scores(stage.random_features[name]).softmax(1).numpy() for name in parts}
    else:
        from threadpoolctl import threadpool_limits

        rows = stage.rows(trial.shots, trial.seed)
        if trial.method == floors.MAJORITY:
            found = {n: floors.majority_probabilities(rows.labels, classes, len(d)) for n, d in parts.items()}
        else:
            with threadpool_limits(torch.get_num_threads()):
                answers = floors.raw_logistic_probabilities(rows, rows.labels, classes, list(parts.values()))
            found = dict(zip(parts, answers, strict=True))
        seconds = time.perf_counter() - start
    row = Row(**_identity(trial), seconds=seconds, trainable_parameters=0)
    return _judge(row, trial, stage, found, start)


def _predictor(trial: Trial, stage: Stage) -> Outcome:
    train = stage.examples(trial.shots, trial.seed)
    start = time.perf_counter()
    cls = ingredients.find("predictors", trial.method)
    unlabeled = stage.features.get("unlabeled")
    search = {"folds": trial.config["folds"], "limit": trial.config.get("limit")}
    fitted = fit(cls, train, stage.classes, unlabeled, **search, seed=trial.seed)
    seconds = time.perf_counter() - start
    adapted = Adapted(stage.model, stage.splits.classes, stage.pool.modality, fitted)
    tested = time.perf_counter()
    found = {name: adapted.scores_of(stage.features[name].features) for name in _tested(stage)}
    row = Row(
        **_identity(trial),
        seconds=seconds,
        trainable_parameters=sum(tensor.numel() for tensor in fitted.state().values()),
        forgetting=0.0,
        config=fitted.choice.configuration | {"temperature": round(fitted.choice.temperature, 4)},
    )
    outcome = _judge(row, trial, stage, {n: s.softmax(1).numpy() for n, s in found.items()}, tested)
    outcome.row.predict_ms += stage.encode_ms
    outcome.adapted = adapted
    return outcome


def _tuner(trial: Trial, stage: Stage) -> Outcome:
    examples, rows = stage.examples(trial.shots, trial.seed), stage.rows(trial.shots, trial.seed)
    config = copy.deepcopy(trial.config)
    start = time.perf_counter()
    stopped = ""
    if "weight_decays" in config:
        adapted = tuning.fit_head(stage.model, examples, rows.classes, rows.modality, config, trial.seed)
        adapted.model.freeze()
    else:
        adapted, stopped = tuning.tune(stage.model, trial.method, rows, examples, config, trial.seed)
    seconds = time.perf_counter() - start
    if not stopped and config.get("cut"):
        stopped = f"budget: {config['steps']} steps"
    row = Row(
        **_identity(trial),
        seconds=seconds,
        trainable_parameters=tuning.trainable_parameters(adapted),
        stopped=stopped or None,
        config={"steps": config["steps"], **config.get("chosen", {})},
    )
    return _test(row, trial, stage, adapted, reuse="weight_decays" in config)


def _recipe(trial: Trial, stage: Stage) -> Outcome:
    from ..run import adapt

    start = time.perf_counter()
    rows = stage.rows(trial.shots, trial.seed)
    adapted = adapt(trial.method, copy.deepcopy(stage.model), rows, stage.splits.unlabeled, trial.seed)
    row = Row(
        **_identity(trial),
        seconds=time.perf_counter() - start,
        trainable_parameters=tuning.trainable_parameters(adapted),
    )
    return _test(row, trial, stage, adapted)


def _test(row: Row, trial: Trial, stage: Stage, adapted: Adapted, reuse: bool = False) -> Outcome:
    """Predict with a model of its own; its features are computed anew, or reused where the backbone is as it was."""
    start = time.perf_counter()
    found, encoded = {}, {}
    for name, rows in _tested(stage).items():
        if reuse:
            encoded[name] = stage.features[name].features
        else:
            encoded[name] = Encoder(adapted.model, rows, store=False).features().pooled()
        found[name] = adapted.scores_of(encoded[name])
    outcome = _judge(row, trial, stage, {n: s.softmax(1).numpy() for n, s in found.items()}, start)
    row.predict_ms += stage.encode_ms if reuse else 0.0
    row.forgetting = 0.0 if reuse else neighbour_forgetting(stage.features["test"].features, encoded["test"])
    outcome.adapted = adapted
    return outcome


def _judge(row: Row, trial: Trial, stage: Stage, probabilities: dict[str, np.ndarray], start: float) -> Outcome:
    """Fill the row's scores from class probabilities by split."""
    tested = sum(len(found) for found in probabilities.values())
    row.predict_ms = 1000 * (time.perf_counter() - start) / max(tested, 1)
    if any(not np.isfinite(found).all() for found in probabilities.values()):
        raise FloatingPointError("the method's scores are not finite")
    parts = _tested(stage)
    predictions = []
    for name, found in probabilities.items():
        labels = parts[name].labels
        answer, confidence = found.argmax(1), found.max(1)
        if name == "test":
            row.accuracy = metrics.accuracy(labels, answer)
            row.macro_f1 = metrics.macro_f1(labels, answer)
            row.ece = expected_calibration_error(confidence, answer == labels)
            known_confidence = confidence
        else:
            unseen = stage.splits.shifted_unseen
            unseen = np.zeros(len(labels), bool) if unseen is None else unseen
            if (~unseen).any():
                row.shifted_accuracy = metrics.accuracy(labels[~unseen], answer[~unseen])
            if unseen.any():
                row.shifted_auroc = metrics.auroc(known_confidence, confidence[unseen])
                row.shifted_fpr95 = metrics.fpr95(known_confidence, confidence[unseen])
        predictions.append(
            Predictions.of(trial.method, trial.model, trial.shots, trial.seed, name, labels, answer, confidence)
        )
    return Outcome(row, predictions)


def _tested(stage: Stage) -> dict:
    parts = {"test": stage.splits.test}
    if stage.splits.shifted is not None and len(stage.splits.shifted):
        parts["shifted"] = stage.splits.shifted
    return parts


_KINDS = {"floor": _floor, "predictor": _predictor, "tuner": _tuner, "recipe": _recipe}
