"""A comparison's folder and its life: plan, trials, board, report, winner."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ..adapted import Adapted
from ..data.dataset import DataError, Splits
from .board import Board, Row, Skipped
from .methods import resolve
from .plan import FILE, Plan, Trial, make_plan
from .predictions import Predictions
from .request import Request
from .stage import Stage
from .trial import Outcome, run_trial

WINNER = "winner"
_LIBRARIES = ("warmstart", "torch", "transformers", "peft", "accelerate", "scikit-learn", "numpy")


@dataclass
class Session:
    """A comparison in its folder.

    examples: whether rows of the data may be shown in the report. command: what the user typed.
    """

    request: Request
    splits: Splits
    stages: list[Stage]
    folder: Path
    plan: Plan
    examples: bool = True
    command: str = ""
    interrupted: bool = False
    started: float = field(default_factory=time.time)

    @property
    def todo(self) -> list[Trial]:
        return [trial for trial in self.plan.trials if not self.finished(trial)]

    def finished(self, trial: Trial) -> bool:
        return self._row_path(trial).exists()

    def stage(self, trial: Trial) -> Stage:
        return next(stage for stage in self.stages if stage.name == trial.model)

    def run(self, trial: Trial) -> Row:
        """One trial; its row, predictions and adapted model are on disk when this returns."""
        outcome = run_trial(trial, self.stage(trial))
        self.keep(trial, outcome)
        return outcome.row

    def keep(self, trial: Trial, outcome: Outcome) -> None:
        """The row is written last: a trial counts as finished only with everything that belongs to it."""
        if outcome.adapted is not None and self._may_win(trial):
            home = self._model_path(trial)
            shutil.rmtree(home, ignore_errors=True)
            _save(outcome.adapted, home)
        if outcome.predictions:
            Predictions.append(self.folder, trial.id, outcome.predictions)
        write_json(self._row_path(trial), json.loads(outcome.row.model_dump_json()))

    def _may_win(self, trial: Trial) -> bool:
        """The winner is a first seed's model at the largest shots: choosing among seeds would flatter it."""
        return trial.seed == 0 and trial.shots == self.request.shots[-1] and trial.kind != "floor"

    def board(self, partial: bool) -> Board:
        """The board of all finished trials, written with the predictions they made."""
        board = Board(metric=self.request.metric, partial=partial, run=self.about())
        for trial in self.plan.trials:
            if self.finished(trial):
                board.add(Row.model_validate_json(self._row_path(trial).read_text()))
        board.skipped = [Skipped(**item) for item in self.plan.skipped]
        board.warnings = list(self.splits.warnings)
        predictions = Predictions.collect(self.folder)
        board.summarize(predictions)
        board.write(self.folder)
        return board

    def finish(self, partial: bool) -> Board:
        """Board, report and winner from what has run so far."""
        from . import report

        board = self.board(partial)
        self._save_winner(board)
        embeddings = None
        if "features" in vars(self.stages[0]):
            embeddings = self.stages[0].features["test"].features.numpy()
        report.write(
            self.folder,
            json.loads(board.model_dump_json()),
            Predictions.read(self.folder / "predictions.parquet").table,
            classes=self.splits.classes,
            test=self.splits.test,
            embeddings=embeddings,
            examples=self.examples,
        )
        return board

    def _save_winner(self, board: Board) -> None:
        """winner/ holds the recommended method; the best model that is one where a floor is recommended."""
        candidates = [] if board.recommended is None else [(board.recommended.method, board.recommended.model)]
        top = [s for s in board.summary if s.shots == self.request.shots[-1]]
        candidates += [(s.method, s.model) for s in sorted(top, key=lambda s: -(s.mean or 0.0))]
        by_arm = {(trial.method, trial.model): trial for trial in self.plan.trials if self._may_win(trial)}
        for arm in candidates:
            home = self._model_path(by_arm[arm]) if arm in by_arm else None
            if home is not None and home.exists():
                fresh = self.folder / f".{WINNER}.tmp"
                shutil.rmtree(fresh, ignore_errors=True)
                shutil.copytree(home, fresh)
                shutil.rmtree(self.folder / WINNER, ignore_errors=True)
                fresh.rename(self.folder / WINNER)
                write_json(self.folder / WINNER / "trial.json", vars(by_arm[arm]))
                return

    def about(self) -> dict:
        splits = self.splits
        rows = {"train": len(splits.train), "drawn": len(self.stages[0].pool), "test": len(splits.test)}
        for name in ("val", "unlabeled", "shifted"):
            part = getattr(splits, name)
            if part is not None:
                rows[name] = len(part)
        return {
            "command": self.command,
            "model": ", ".join(stage.name for stage in self.stages),
            "data": self.request.source,
            "rows": rows,
            "classes": len(splits.classes),
            "budget_seconds": self.request.budget,
            "seconds": round(time.time() - self.started, 1),
            "encode_seconds": {
                stage.name: {name: round(s, 2) for name, s in stage.encode_seconds.items()} for stage in self.stages
            },
            "threads": self.plan.threads,
            "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "versions": {name: found for name in _LIBRARIES if (found := _version(name))},
        }

    def _row_path(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.id}.json"

    def _model_path(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.id}.model"


def open_session(
    request: Request,
    splits: Splits,
    stages: list[Stage],
    folder: Path,
    *,
    resume: bool,
    examples: bool = True,
    command: str = "",
    on_planning: Callable[[str], None] = lambda line: None,
) -> Session:
    """A new comparison, one that goes on, or one that gets more methods.

    Raises DataError where the folder holds a comparison with other arguments, naming the difference.
    """
    known = Plan.read(folder) if (folder / FILE).exists() else None
    if known is None and resume:
        raise DataError(f"{folder}: nothing to resume: there is no {FILE} in it")
    if known is None and folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty and not a comparison; name another --out")
    if known is not None:
        changed = request.difference(known.request)
        if resume and request.methods != known.request.methods:
            changed.append(f"methods: {known.request.methods} -> {request.methods}")
        if changed:
            raise DataError(f"{folder} holds a comparison with other arguments: {'; '.join(changed)}")
    if known is not None and resume:
        plan = known
    else:
        on_planning("timing one step of each method")
        plan = make_plan(request, resolve(request.methods), stages, known)
    folder.mkdir(parents=True, exist_ok=True)
    plan.write(folder)
    _write_skipped(splits, folder)
    return Session(request, splits, stages, folder, plan, examples, command)


def run_local(session: Session) -> Iterator[tuple[Trial, Row | None]]:
    """Yields (trial, None) when a trial starts and (trial, row) when it is done."""
    import torch

    torch.set_num_threads(session.plan.threads)
    for trial in session.todo:
        yield trial, None
        yield trial, session.run(trial)


def write_json(path: Path, value) -> None:
    from ..engine.atomic import write_atomic

    write_atomic(path, json.dumps(value, indent=1, default=_plain).encode())


def _plain(value):
    return value.item() if isinstance(value, np.generic) else str(value)


def _save(adapted: Adapted, home: Path) -> None:
    """Raises DataError where the disk refuses."""
    try:
        adapted.save(home)
    except OSError as error:
        shutil.rmtree(home, ignore_errors=True)
        raise DataError(f"{home}: cannot be written: {error.strerror or error}; the board so far is intact") from error


def _write_skipped(splits: Splits, folder: Path) -> None:
    if not splits.skipped:
        return
    import csv

    with open(folder / "skipped.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "row", "reason"])
        writer.writerows(splits.skipped)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def command_line() -> str:
    return " ".join(["warmstart", *sys.argv[1:]])
