"""From the arguments of `compare` to a finished folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data.dataset import DataError, Splits
from ..data.load import load_data
from ..engine.atomic import exclusive
from .methods import resolve
from .plan import make_plan
from .progress import clock
from .request import DEFAULT_DATA, DEFAULT_MODEL, DEFAULT_SHOTS, Request, parse_seconds, parse_shots, plain
from .session import Session, known_plan, open_session, run_local
from .stage import Stage, make_stages, short_name
from .trial import check_disk

METRICS = ("accuracy", "macro_f1")
ENGINES = ("local", "ray")
_QUICK_BUDGET, _BUDGET = 2.0, 30.0


def run_comparison(
    model, data, columns, shots, methods, seeds, budget, metric, out, resume, dry_run, engine, examples,
    progress, command,
):  # fmt: skip
    _one_of("metric", metric, METRICS)
    _one_of("engine", engine, ENGINES)
    if resume and out is None:
        raise DataError("--resume needs --out: the folder of the comparison to go on with")
    note = progress.planning if progress is not None else (lambda line: None)
    models = _models(model)
    request = _request(models, data, columns, shots, methods, seeds, budget, metric)
    resolve(request.methods)
    if engine == "ray" and request.objects:
        raise DataError(
            f"engine ray: {', '.join(request.objects)} was given as an object, which other processes cannot find: "
            "give it by name or path, or use the local engine"
        )
    splits = load_data(data, **columns)
    # What this comparison notes is not for the splits of whoever passed them.
    splits = replace(splits, warnings=list(splits.warnings))
    request = _fit_shots(request, splits)
    folder = Path(out) if out is not None else _new_folder(models[0], request.source)
    known = known_plan(folder, request, splits, resume)
    stages = make_stages(models, splits, request, rehearsal=dry_run)
    _prepare(stages, splits, note)
    if dry_run:
        plan = known if resume else make_plan(request, resolve(request.methods), stages, known, note)
        return _dry_run(Session(splits, stages, folder, plan))
    # Two at work in one folder would take each other's half-written files for what a killed run left.
    with exclusive(folder):
        session = open_session(
            request, splits, stages, folder, known=known, resume=resume, examples=examples, command=command,
            on_planning=note,
        )  # fmt: skip
        return _run(session, engine, progress)


def _run(session: Session, engine: str, progress):
    partial = True
    with contextlib.ExitStack() as stack:
        if progress is not None:
            stack.callback(progress.stop)
        try:
            if progress is not None:
                progress.start(session)
            for trial, row in stack.enter_context(contextlib.closing(_engine(engine)(session))):
                if progress is not None:
                    progress.trial(trial, row)
            partial = False
        except KeyboardInterrupt:
            pass
        except DataError:
            with contextlib.suppress(DataError, OSError):
                session.finish(partial=True)
            raise
    try:
        return session.finish(partial)
    except Exception as error:
        check_disk(error)
        raise


def _engine(name: str):
    if name == "local":
        return run_local
    from .ray_engine import run_ray

    return run_ray


def _prepare(stages: list[Stage], splits: Splits, note) -> None:
    """Load and encode: a wrong model or modality is said before anything is written."""
    for stage in stages:
        note(f"loading {stage.name}")
        stage.model  # noqa: B018
    for stage in stages:
        try:
            _encode(stage, note)
        except OSError as error:
            check_disk(error)
            raise
        if stage.truncated:
            total = len(stage.pool) + len(splits.test)
            splits.warnings.append(f"{stage.name} reads only the start of {stage.truncated:,} of {total:,} texts")


def _encode(stage: Stage, note) -> None:
    rows = sum(len(part) for part in stage.encoded_rows.values())
    for seconds, which in ((stage.encode_estimate, ""), (stage.random_encode_estimate, " with random weights")):
        if seconds and not stage.rehearsal:
            note(f"encoding {rows:,} rows with {stage.name}{which}, about {clock(max(seconds, 1))}")
        stage.random_features if which else stage.features  # noqa: B018


def _dry_run(session: Session) -> dict:
    trials, encode = session.todo, sum(s.encode_estimate + s.random_encode_estimate for s in session.stages)
    return {
        "trials": [vars(trial) for trial in trials],
        "skipped": session.plan.skipped,
        "warnings": list(dict.fromkeys(session.splits.warnings)),
        "encode_seconds": round(encode, 1),
        "estimate_seconds": round(encode + sum(trial.estimate for trial in trials), 1),
    }


def _request(models, data, columns, shots, methods, seeds, budget, metric) -> Request:
    if not isinstance(seeds, int) or seeds < 1:
        raise DataError(f"seeds {seeds}: a number from 1 up is needed")
    source, named = plain(data)
    objects = [short_name(item) for item in models if not isinstance(item, str)]
    objects += [] if named and isinstance(source, str) else ["data"]
    kept = {}
    for key, value in columns.items():
        if value is not None and value is not False:
            kept[key], named = plain(value)
            objects += [] if named else [key]
    if budget is None:
        embedded = models == [DEFAULT_MODEL] and source == DEFAULT_DATA
        budget = _QUICK_BUDGET if embedded else _BUDGET
    return Request(
        models=tuple(item if isinstance(item, str) else short_name(item) for item in models),
        source=str(source),
        data=kept,
        shots=parse_shots(DEFAULT_SHOTS if shots is None else shots),
        methods=None if methods is None else tuple(_listed(methods)),
        seeds=seeds,
        budget=parse_seconds(budget),
        metric=metric,
        shots_asked=shots is not None,
        objects=tuple(objects),
    )


def _fit_shots(request: Request, splits: Splits) -> Request:
    """Default shots that a class cannot give are dropped with a note; shots asked for are an error."""
    counts = np.bincount(splits.train.labels, minlength=len(splits.classes))
    smallest = int(counts.min())
    short = [shots for shots in request.shots if shots != "all" and shots > smallest]
    if not short:
        return request
    name = splits.classes[int(counts.argmin())]
    line = f"class {name!r} has {smallest} training row{'s' if smallest != 1 else ''}"
    if request.shots_asked:
        fits = f"use --shots {smallest} or all" if smallest else "give it some, or leave it out"
        raise DataError(f"{splits.train.name}: {line}, and {short[0]} shots were asked for: {fits}")
    kept = tuple(shots for shots in request.shots if shots not in short) or ("all",)
    splits.warnings.append(f"{line}: {', '.join(map(str, short))} shots are left out")
    return replace(request, shots=kept)


def _one_of(what: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise DataError(f"{what} {given!r}: it can be one of {', '.join(known)}")


def _models(given) -> list:
    """Models by name, each once, or objects."""
    found: list = []
    for item in _listed(str(given) if isinstance(given, Path) else given):
        item = str(item) if isinstance(item, Path) else item
        if not (isinstance(item, str) and item in found):
            found.append(item)
    if not found:
        raise DataError("no model: name one, such as minilm, or several with commas")
    return found


def _listed(given) -> list:
    if isinstance(given, str):
        return [item.strip() for item in given.split(",") if item.strip()]
    return list(given) if isinstance(given, list | tuple) else [given]


def _new_folder(model, source: str) -> Path:
    def plain_name(text: str) -> str:
        return "".join(c if c.isalnum() or c in "-_" else "-" for c in text.rstrip("/").rpartition("/")[2])[:40]

    stem = f"{plain_name(short_name(model))}-{plain_name(source)}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, count = Path("runs") / stem, 1
    while folder.exists():
        count += 1
        folder = Path("runs") / f"{stem}-{count}"
    return folder
