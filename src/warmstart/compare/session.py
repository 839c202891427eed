"""A comparison's folder and its life: plan, trials, board, report, winner."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.dataset import DataError, Splits
from ..data.load import load_data
from ..engine.atomic import write_atomic
from .about import about
from .board import Board, Row, Skipped
from .content import check_same, content_of
from .methods import resolve
from .plan import FILE, Plan, Trial, make_plan
from .predictions import Predictions
from .request import Request
from .stage import Stage, make_stages
from .trial import Outcome, check_disk, failed, run_trial
from .winner import save_winner

WEIGHTS = "weights of "


@dataclass
class Session:
    """A comparison in its folder.

    examples: whether rows of the data may be shown in the report. command: what the user typed.
    """

    splits: Splits
    stages: list[Stage]
    folder: Path
    plan: Plan
    examples: bool = True
    command: str = ""
    started: float = field(default_factory=time.time)

    @property
    def request(self) -> Request:
        return self.plan.request

    @property
    def todo(self) -> list[Trial]:
        return [trial for trial in self.plan.trials if not self.finished(trial)]

    def finished(self, trial: Trial) -> bool:
        return self._row_path(trial).exists()

    def stage(self, trial: Trial) -> Stage:
        return next(stage for stage in self.stages if stage.name == trial.model)

    def run(self, trial: Trial) -> Row:
        """One trial; its row, predictions and adapted model are on disk when this returns."""
        return self.keep(trial, run_trial(trial, self.stage(trial)))

    def keep(self, trial: Trial, outcome: Outcome) -> Row:
        """The row is written last: a trial counts as finished only with everything that belongs to it."""
        if outcome.adapted is not None and self._may_win(trial):
            try:
                self._save_model(trial, outcome)
            except Exception as error:
                check_disk(error)
                reason = f"cannot be saved: {str(error).partition(chr(10))[0]}"
                outcome = failed(trial, reason, outcome.row.seconds)
        if outcome.predictions:
            Predictions.append(self.folder, trial.id, outcome.predictions)
        write_json(self._row_path(trial), json.loads(outcome.row.model_dump_json()))
        return outcome.row

    def _may_win(self, trial: Trial) -> bool:
        """The winner is an arm's first seed that worked: choosing among seeds would flatter it."""
        if trial.kind == "floor" or trial.shots != self.request.shots[-1]:
            return False
        return not any(self.model_path(t).exists() for t in self._of_arm(trial) if t.seed < trial.seed)

    def _of_arm(self, trial: Trial) -> list[Trial]:
        arm = (trial.method, trial.model, trial.shots)
        return [t for t in self.plan.trials if (t.method, t.model, t.shots) == arm]

    def _save_model(self, trial: Trial, outcome: Outcome) -> None:
        """Without the backbone where it is as it was: the winner gets it from the stage."""
        home = self.model_path(trial)
        fresh = home.with_name(f".{home.name}.tmp")
        for old in (fresh, home):
            shutil.rmtree(old, ignore_errors=True)
        outcome.adapted.save(fresh, backbone=outcome.adapted.fitted is None)
        fresh.rename(home)

    def board(self, partial: bool) -> Board:
        """The board of all finished trials, written with the predictions they made."""
        board = Board(metric=self.request.metric, partial=partial, run=about(self))
        done = [trial for trial in self.plan.trials if self.finished(trial)]
        for trial in done:
            board.add(Row.model_validate_json(self._row_path(trial).read_text()))
        board.skipped = [Skipped(**item) for item in self.plan.skipped]
        board.warnings = list(dict.fromkeys(self.splits.warnings))
        paths = sorted(Predictions.trial_path(self.folder, trial.id) for trial in done)
        predictions = Predictions.join(Predictions.read(path) for path in paths if path.exists())
        predictions.write(self.folder / "predictions.parquet")
        board.summarize(predictions)
        board.write(self.folder)
        return board

    def finish(self, partial: bool) -> Board:
        """Board, report and winner from what has run so far."""
        from . import report

        board = self.board(partial)
        save_winner(self, board)
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

    def model_path(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.id}.model"

    def _row_path(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.id}.json"


def known_plan(folder: Path, request: Request, splits: Splits, resume: bool) -> Plan | None:
    """The plan of the comparison in this folder; None where there is none yet.

    Raises DataError where it has other arguments or other data, naming the difference, and where the folder
    holds something else.
    """
    if not (folder / FILE).exists():
        if resume:
            raise DataError(f"{folder}: nothing to resume: there is no {FILE} in it")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder}: not empty and not a comparison; name another --out")
        return None
    known = Plan.read(folder)
    changed = request.difference(known.request)
    methods = None if request.methods is None else list(request.methods)
    if resume and methods not in known.asked:
        changed.append(f"methods: {_listed(known.asked[-1])} -> {_listed(methods)} (without --resume they are added)")
    if changed:
        raise DataError(f"{folder} holds a comparison with other arguments: {'; '.join(changed)}")
    check_same(folder, known.content, content_of(splits))
    return known


def open_session(
    request: Request,
    splits: Splits,
    stages: list[Stage],
    folder: Path,
    *,
    known: Plan | None = None,
    resume: bool = False,
    examples: bool = True,
    command: str = "",
    on_planning: Callable[[str], None] = lambda line: None,
) -> Session:
    """A new comparison, one that goes on (`known`, as `known_plan` found it), or one that gets more methods."""
    weights = {WEIGHTS + stage.name: [1, stage.weights] for stage in stages}
    if known is not None:
        check_same(folder, known.content, weights, tuple(weights))
    plan = known if resume else make_plan(request, resolve(request.methods), stages, known, on_planning)
    plan.content = plan.content or content_of(splits) | weights
    _remove_halves(folder)
    plan.write(folder)
    _write_skipped(splits, folder)
    return Session(splits, stages, folder, plan, examples, command)


def follow(folder: Path) -> Session:
    """The comparison of this folder as another process takes part in it: from its plan and the names in there.

    Raises DataError where the data it finds is not what the plan was made from.
    """
    plan = Plan.read(folder)
    splits = load_data(plan.request.source, **plan.request.data)
    check_same(folder, plan.content, content_of(splits))
    return Session(splits, make_stages(plan.request.models, splits, plan.request), folder, plan)


def run_local(session: Session) -> Iterator[tuple[Trial, Row | None]]:
    """Yields (trial, None) when a trial starts and (trial, row) when it is done."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(session.plan.threads)
    try:
        for trial in session.todo:
            yield trial, None
            yield trial, session.run(trial)
    finally:
        torch.set_num_threads(threads)


def write_json(path: Path, value) -> None:
    write_atomic(path, json.dumps(value, indent=1, default=_plain).encode())


def _plain(value):
    return value.item() if isinstance(value, np.generic) else str(value)


def _listed(methods: Sequence[str] | None) -> str:
    return "the default" if methods is None else ",".join(methods)


def _remove_halves(folder: Path) -> None:
    """What a killed run was writing."""
    for half in (*folder.glob(".*.tmp"), *folder.glob("trials/.*.tmp")):
        shutil.rmtree(half) if half.is_dir() else half.unlink()


def _write_skipped(splits: Splits, folder: Path) -> None:
    if not splits.skipped:
        return
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "row", "reason"])
    writer.writerows(splits.skipped)
    write_atomic(folder / "skipped.csv", text.getvalue().encode("utf-8", "replace"))
