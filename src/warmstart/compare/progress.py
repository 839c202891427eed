"""What the terminal shows while a comparison runs: what runs, how long is left, how each method stands."""

from __future__ import annotations

import sys
import time
from collections import defaultdict

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .wording import seconds_name, shots_name


class Progress:
    """A live table on a terminal; plain lines elsewhere (files, CI)."""

    def __init__(self, console: Console | None = None):
        # Names of methods, models and folders are the user's: nothing in them is markup.
        self.console = console or Console(markup=False, highlight=False, width=_width())
        self.session, self.live = None, None
        self.scores: dict[tuple, list[float]] = defaultdict(list)
        self.failed: set[tuple] = set()
        self.running: dict[str, str] = {}
        self.done = self.total = 0
        self.clock = Countdown(0.0)

    def planning(self, line: str) -> None:
        self.console.print(Text(f"{line} ...", style="dim"))

    def start(self, session) -> None:
        self.session, todo = session, session.todo
        self.total = len(todo)
        for line in dict.fromkeys(session.splits.warnings):
            self.console.print(Text(f"note: {line}", style="yellow"))
        self._skipped(session.plan.skipped)
        self.clock = Countdown(sum(trial.estimate for trial in todo))
        estimate = clock(self.clock.estimate)
        self.console.print(
            Text(f"{self.total} trials, about {estimate}; results go to {session.folder}"), soft_wrap=True
        )
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=4)
            self.live.start()

    def trial(self, trial, row) -> None:
        """row: None where the trial starts."""
        if row is None:
            self.running[trial.id] = f"{trial.method} ({shots_name(trial.shots)}, seed {trial.seed})"
            self._refresh()
            return
        self.running.pop(trial.id, None)
        self.done += 1
        self.clock.finished(trial.estimate)
        key = (trial.model, trial.method, trial.shots)
        if row.status == "ok":
            self.scores[key].append(getattr(row, self.session.request.metric))
        else:
            self.failed.add(key)
        if self.live is None:
            self._line(trial, row)
        self._refresh()

    def stop(self) -> None:
        if self.live is not None:
            self.running.clear()
            self.live.stop()
            self.live = None

    def result(self, found) -> None:
        """The verdict and where everything is; for a dry run, the plan."""
        if isinstance(found, dict):
            self._plan(found)
            return
        self.console.print()
        self.console.print(_leaderboard(found))
        for line in dict.fromkeys(f"{r.method}: failed: {r.reason}" for r in found.rows if r.status == "failed"):
            self.console.print(Text(line, style="red"), soft_wrap=True)
        if found.verdict:
            self.console.print(Text(found.verdict))
        folder = self.session.folder
        if found.partial:
            line = f"interrupted: this is the board so far; the same command with --out {folder} --resume goes on"
            self.console.print(Text(line), soft_wrap=True)
        self.console.print(Text(f"report: {folder / 'report.html'}"), soft_wrap=True)
        if (folder / "winner").exists():
            self.console.print(Text(f"winner: {folder / 'winner'}"), soft_wrap=True)

    def _refresh(self) -> None:
        if self.live is not None:
            self.live.refresh()

    def _line(self, trial, row) -> None:
        score = f"{getattr(row, self.session.request.metric):.1%}" if row.status == "ok" else f"failed: {row.reason}"
        name = f"{trial.method} ({trial.model})" if len(self.session.stages) > 1 else trial.method
        line = f"[{self.done}/{self.total}] {name}, {shots_name(trial.shots)}, seed {trial.seed}: {score}"
        left = f", about {clock(self.clock.left())} left" if self.done < self.total else ""
        self.console.print(Text(f"{line}  {_seconds(row.seconds)}{left}"), soft_wrap=True)

    def _table(self) -> Group:
        title = f"{self.done} of {self.total} trials"
        if self.running:
            title += f", now {', '.join(self.running.values())}, about {clock(self.clock.left())} left"
        shots = self.session.request.shots
        table = Table(box=None, pad_edge=False)
        table.add_column("method")
        for item in shots:
            table.add_column(shots_name(item), justify="right")
        several = len(self.session.stages) > 1
        for model, method in dict.fromkeys((t.model, t.method) for t in self.session.plan.trials):
            cells = [self._cell(model, method, item) for item in shots]
            table.add_row(Text(f"{method} ({model})" if several else method), *cells)
        return Group(Text(title), table)

    def _cell(self, model: str, method: str, shots) -> str:
        scores = self.scores.get((model, method, shots))
        if scores:
            return f"{sum(scores) / len(scores):.1%}"
        return "failed" if (model, method, shots) in self.failed else "."

    def _plan(self, found: dict) -> None:
        table = Table(box=None, pad_edge=False)
        several = len({trial["model"] for trial in found["trials"]}) > 1
        for name in ("method", *(["model"] if several else []), "shots", "seeds", "seconds", "configuration"):
            table.add_column(name, justify="right" if name in ("shots", "seeds", "seconds") else "left")
        groups: dict[tuple, list[dict]] = defaultdict(list)
        for trial in found["trials"]:
            groups[trial["method"], trial["model"], trial["shots"]].append(trial)
        for (method, model, shots), trials in groups.items():
            config = ", ".join(f"{key} {value}" for key, value in trials[0]["config"].items())
            cells = [str(shots), str(len(trials)), f"{trials[0]['estimate']:.1f}", config]
            table.add_row(*(Text(cell) for cell in ([method, model] if several else [method]) + cells))
        for line in found["warnings"]:
            self.console.print(Text(f"note: {line}", style="yellow"))
        self.console.print(table)
        self._skipped(found["skipped"])
        encode = f"about {clock(found['encode_seconds'])} of encoding and " if found["encode_seconds"] else ""
        trials = f"{len(found['trials'])} trials: {encode}about {clock(found['estimate_seconds'])} in all"
        self.console.print(Text(f"{trials}; nothing was written"))

    def _skipped(self, skipped: list[dict]) -> None:
        for item in skipped:
            self.console.print(Text(f"skipped {item['method']}: {item['reason']}", style="dim"), soft_wrap=True)


class Countdown:
    """Seconds left: the estimates of what is to do, corrected by how the finished estimates came out."""

    def __init__(self, estimate: float, now=time.monotonic):
        self.estimate, self.now = estimate, now
        self.started = self.marked = now()
        self.finished_estimate = 0.0

    def finished(self, estimate: float) -> None:
        self.finished_estimate += estimate
        self.marked = self.now()

    def left(self) -> float:
        # A few seconds at the estimated pace, so that the first short trials do not set it alone.
        prior = min(5.0, self.estimate)
        pace = (self.marked - self.started + prior) / max(self.finished_estimate + prior, 1e-9)
        left = max(self.estimate - self.finished_estimate, 0.0) * pace
        return max(left - (self.now() - self.marked), 0.0)


def _width() -> int | None:
    """A file has no width of its own: enough for a leaderboard."""
    return None if sys.stdout.isatty() else 120


def clock(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _leaderboard(board) -> Table:
    """The largest shots, best first."""
    largest = board.recommended.shots if board.recommended else (board.summary[-1].shots if board.summary else None)
    title = Text(shots_name(largest) if largest else "no results")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    columns = (("method", "left"), (board.metric, "right"), ("95 % interval", "right"), ("p (Holm)", "right"),
               ("seconds", "right"), ("trained", "right"))  # fmt: skip
    for name, side in columns:
        table.add_column(name, justify=side)
    chosen = board.recommended
    several = len({item.model for item in board.summary}) > 1
    rows = [item for item in board.summary if item.shots == largest]
    for item in sorted(rows, key=lambda item: -(item.mean or 0.0)):
        name = f"{item.method} ({item.model})" if several else item.method
        mark = chosen is not None and (item.method, item.model) == (chosen.method, chosen.model)
        p = "" if item.p_holm is None else f"{item.p_holm:.3f}"
        trained = "" if item.trainable_parameters is None else f"{item.trainable_parameters:,}"
        table.add_row(
            Text(f"{name} <- recommended" if mark else name, style="bold" if mark else ""),
            _share(item.mean), f"{_share(item.low)} to {_share(item.high)}", p, _seconds(item.seconds), trained,
        )  # fmt: skip
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _seconds(value: float | None) -> str:
    return "" if value is None else seconds_name(value)
