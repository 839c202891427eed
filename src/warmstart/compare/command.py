"""From the arguments of `compare` to a finished folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..data.dataset import DataError, Splits
from ..data.load import load_data
from .request import DEFAULT_DATA, DEFAULT_MODEL, DEFAULT_SHOTS, Request, parse_seconds, parse_shots
from .session import open_session, run_local
from .stage import Stage

METRICS = ("accuracy", "macro_f1")
ENGINES = ("local", "ray")
_QUICK_BUDGET, _BUDGET = 3.0, 30.0


def run_comparison(
    model, data, columns, shots, methods, seeds, budget, metric, out, resume, dry_run, engine, examples,
    progress, command,
):  # fmt: skip
    if metric not in METRICS:
        raise DataError(f"metric {metric!r}: it can be one of {', '.join(METRICS)}")
    if engine not in ENGINES:
        raise DataError(f"engine {engine!r}: it can be one of {', '.join(ENGINES)}")
    if seeds < 1:
        raise DataError(f"seeds {seeds}: at least one is needed")
    models = _listed(model)
    names = tuple(item if isinstance(item, str) else type(item).__name__ for item in models)
    if budget is None:
        budget = _QUICK_BUDGET if (names, data) == ((DEFAULT_MODEL,), DEFAULT_DATA) else _BUDGET
    request = Request(
        models=names,
        source=data if isinstance(data, str) else str(getattr(data, "name", type(data).__name__)),
        data={key: str(value) if isinstance(value, Path) else value for key, value in columns.items() if value},
        shots=parse_shots(DEFAULT_SHOTS if shots is None else shots),
        methods=None if methods is None else tuple(_listed(methods)),
        seeds=seeds,
        budget=parse_seconds(budget),
        metric=metric,
        shots_asked=shots is not None,
    )
    splits = load_data(data, **columns)
    request = _fit_shots(request, splits)
    stages = [Stage(item, splits, request) for item in models]
    note = progress.planning if progress is not None else (lambda line: None)
    for stage in stages:
        note(f"loading {stage.name}")
        stage.model  # noqa: B018 - a wrong model or modality is said before anything is written
        if stage.truncated:
            total = len(stage.pool) + len(splits.test)
            splits.warnings.append(f"{stage.name} reads only the start of {stage.truncated:,} of {total:,} texts")
        note(f"encoding {len(stage.pool) + len(splits.test):,} rows with {stage.name}")
        stage.features  # noqa: B018
    folder = Path(out) if out is not None else _new_folder(request)
    if dry_run:
        return _dry_run(request, stages, folder)
    session = open_session(
        request, splits, stages, folder, resume=resume, examples=examples, command=command, on_planning=note
    )
    return _run(session, engine, progress)


def _run(session, engine: str, progress):
    if progress is not None:
        progress.start(session)
    partial = True
    try:
        if engine == "ray":
            from .ray_engine import run_ray

            steps = run_ray(session)
        else:
            steps = run_local(session)
        for trial, row in steps:
            if progress is not None:
                progress.trial(trial, row)
        partial = False
    except KeyboardInterrupt:
        session.interrupted = True
    finally:
        if progress is not None:
            progress.stop()
    return session.finish(partial)


def _dry_run(request: Request, stages: list[Stage], folder: Path) -> dict:
    from .methods import resolve
    from .plan import FILE, Plan, make_plan

    known = Plan.read(folder) if (folder / FILE).exists() else None
    plan = make_plan(request, resolve(request.methods), stages, known)
    return {
        "trials": [vars(trial) for trial in plan.trials],
        "skipped": plan.skipped,
        "estimate_seconds": round(plan.estimate, 1),
    }


def _fit_shots(request: Request, splits: Splits) -> Request:
    """Default shots that a class cannot give are dropped with a note; shots asked for are an error."""
    from dataclasses import replace

    import numpy as np

    counts = np.bincount(splits.train.labels, minlength=len(splits.classes))
    smallest = int(counts.min())
    short = [shots for shots in request.shots if shots != "all" and shots > smallest]
    if not short:
        return request
    name = splits.classes[int(counts.argmin())]
    line = f"class {name!r} has {smallest} training rows"
    if request.shots_asked:
        raise DataError(
            f"{splits.train.name}: {line}, and {short[0]} shots were asked for: use --shots {smallest} or all"
        )
    kept = tuple(shots for shots in request.shots if shots not in short) or ("all",)
    splits.warnings.append(f"{line}: {', '.join(map(str, short))} shots are left out")
    return replace(request, shots=kept)


def _listed(given) -> list:
    if isinstance(given, str):
        return [item.strip() for item in given.split(",") if item.strip()]
    return list(given) if isinstance(given, Sequence) else [given]


def _new_folder(request: Request) -> Path:
    def plain(text: str) -> str:
        return "".join(c if c.isalnum() or c in "-_" else "-" for c in text.rstrip("/").rpartition("/")[2])[:40]

    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{plain(request.models[0])}-{plain(request.source)}-{stamp}"
