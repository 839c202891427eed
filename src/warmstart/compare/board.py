"""The board of a comparison: every trial, what it adds up to, and what to use."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..data.dataset import DataError
from ..engine.atomic import write_atomic
from .predictions import Predictions
from .recommendation import Recommendation
from .standing import Standing

Shots = int | Literal["all"]


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


Number = Annotated[float | None, BeforeValidator(_finite)]  # JSON has no NaN: what is not known is null
Count = Annotated[int, BeforeValidator(_plain)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Row(_Record):
    """One trial: a method with a model, shots and a seed.

    accuracy, macro_f1, ece: on the test rows. shifted_accuracy: on the shifted rows whose label is known;
    shifted_auroc, shifted_fpr95: confidence of test rows against shifted rows of unseen labels.
    seconds: of the trial, search included, shared encoding excluded. predict_ms: per row. peak_memory_mb: MB.
    stopped: why training ended before its plan, None where it did not. floor: uses no pretraining (or no
    learning at all). config: the hyper-parameters chosen. Numbers that are not known are None.
    """

    method: str
    model: str
    shots: Shots
    seed: Count
    accuracy: Number = None
    macro_f1: Number = None
    ece: Number = None
    shifted_accuracy: Number = None
    shifted_auroc: Number = None
    shifted_fpr95: Number = None
    forgetting: Number = None
    seconds: Number = None
    predict_ms: Number = None
    trainable_parameters: Count | None = None
    peak_memory_mb: Number = None
    status: Literal["ok", "failed"] = "ok"
    reason: str | None = None
    stopped: str | None = None
    floor: bool = False
    config: dict[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.method, self.model, str(self.shots), self.seed


class Summary(_Record):
    """A method with a model at one number of shots, over its seeds.

    mean, low, high: the metric and its 95 % interval. p_holm: against the best of all models at these shots
    (its own is 1; None where they share no seed). pareto: on the front of seconds and mean. seconds: median.
    """

    method: str
    model: str
    shots: Shots
    mean: Number
    low: Number
    high: Number
    p_holm: Number
    pareto: bool
    seconds: Number = None
    trainable_parameters: Count | None = None


class Skipped(_Record):
    """A method that does not apply, and why."""

    method: str
    reason: str
    model: str | None = None


class Arm(_Record):
    method: str
    model: str


class Recommended(_Record):
    """The cheapest method not significantly below the best at the largest shots.

    mean, low, high: the cross-fitted metric of the rule, with its 95 % interval.
    accuracy: the cross-fitted accuracy of the same answers.
    chosen_on_halves: what the rule chose on either half of the test set. best: the highest mean.
    """

    method: str
    model: str
    shots: Shots
    accuracy: Number
    mean: Number
    low: Number
    high: Number
    chosen_on_halves: tuple[Arm, Arm]
    best: Arm
    floor: bool = False


class Board(_Record):
    """What `board.json` holds.

    run: what was run (command, versions, machine, names of data and models, seconds). metric: what `summary`
    and `recommended` are about. partial: not all of the plan has run.
    """

    partial: bool = True
    metric: Literal["accuracy", "macro_f1"] = "accuracy"
    verdict: str | None = None
    recommended: Recommended | None = None
    summary: list[Summary] = Field(default_factory=list)
    rows: list[Row] = Field(default_factory=list)
    skipped: list[Skipped] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    run: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls, directory: str | Path) -> Board:
        """Raises DataError where DIR/board.json is missing or is not a board."""
        path = Path(directory) / "board.json"
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise DataError(f"{path}: not a board: {place + ': ' if place else ''}{fault['msg']}") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error

    def write(self, directory: str | Path) -> Path:
        """Atomic; raises DataError where the disk refuses, and the old board stays."""
        text = self.model_dump_json(
            indent=1, fallback=lambda value: _plain(value) if np.isscalar(value) else str(value)
        )
        return write_atomic(Path(directory) / "board.json", text.encode() + b"\n")

    def add(self, row: Row) -> None:
        """Replaces an older row of the same trial; the order does not depend on which finished first."""
        kept = [old for old in self.rows if old.key != row.key]
        self.rows = sorted([*kept, row], key=lambda r: (shots_order(r.shots), r.model, r.method, r.seed))

    def summarize(self, predictions: Predictions, resamples: int = 2000, seed: int = 0) -> None:
        """Fills summary, recommended and verdict from the rows that are ok and their predictions."""
        self.summary, self.recommended, self.verdict = [], None, None
        ok = [row for row in self.rows if row.status == "ok"]
        bootstrap = {"metric": self.metric, "resamples": resamples, "seed": seed}
        standing = None
        for shots in sorted({row.shots for row in ok}, key=shots_order):
            rows = [row for row in ok if row.shots == shots]
            found = Standing.of(rows, predictions, shots, **bootstrap)
            if found is not None:
                standing, largest = found, shots
                self.summary += _summary(found, shots)
        if standing is not None:
            chosen = standing.recommend()
            self.recommended = _recommended(standing, chosen, largest)
            self.verdict = standing.verdict(chosen, largest, self.partial)


def shots_order(shots: Shots) -> float:
    """Numbers in order, "all" last."""
    return math.inf if shots == "all" else shots


def _summary(standing: Standing, shots: Shots) -> list[Summary]:
    means, p_holm, front = standing.bootstrap.means, standing.p_holm, standing.pareto
    rows = []
    for m, (method, model) in enumerate(standing.cell.arms):
        low, high = standing.bootstrap.interval(m)
        parameters = standing.parameters[m]
        rows.append(
            Summary(
                method=method,
                model=model,
                shots=shots,
                mean=means[m],
                low=low,
                high=high,
                p_holm=p_holm[m],
                pareto=bool(front[m]),
                seconds=standing.seconds[m],
                trainable_parameters=None if np.isnan(parameters) else int(parameters),
            )
        )
    return rows


def _recommended(standing: Standing, chosen: Recommendation, shots: Shots) -> Recommended:
    arms = [Arm(method=method, model=model) for method, model in standing.cell.arms]
    return Recommended(
        method=arms[chosen.method].method,
        model=arms[chosen.method].model,
        shots=shots,
        accuracy=chosen.accuracy,
        mean=chosen.score,
        low=chosen.low,
        high=chosen.high,
        chosen_on_halves=tuple(arms[m] for m in chosen.chosen_on_halves),
        best=arms[chosen.best],
        floor=bool(standing.floors[chosen.method]),
    )
