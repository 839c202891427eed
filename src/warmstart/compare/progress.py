"""What the terminal shows while a comparison runs: what runs, how long is left, how each method stands."""

from __future__ import annotations

import time
from collections import defaultdict

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text


class Progress:
    """A live table on a terminal; plain lines elsewhere (files, CI)."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self.err = Console(stderr=True)
        self.session, self.live = None, None
        self.scores: dict[tuple, list[float]] = defaultdict(list)
        self.failed: dict[tuple, str] = {}
        self.running, self.spent, self.expected = "", 0.0, 0.0
        self.done, self.started = 0, 0.0

    def planning(self, line: str) -> None:
        self.console.print(Text(f"{line} ...", style="dim"))

    def start(self, session) -> None:
        self.session, self.started = session, time.monotonic()
        self.total = len(session.todo)
        for line in session.splits.warnings:
            self.console.print(Text(f"note: {line}", style="yellow"))
        for item in session.plan.skipped:
            self.console.print(Text(f"skipped {item['method']}: {item['reason']}", style="dim"))
        estimate = sum(trial.estimate for trial in session.todo)
        self.console.print(f"{self.total} trials, about {_clock(estimate)}; results go to {session.folder}")
        self.left = estimate
        if self.console.is_terminal:
            self.live = Live(self._table(), console=self.console, refresh_per_second=4)
            self.live.start()

    def trial(self, trial, row) -> None:
        if row is None:
            self.running = f"{trial.method} ({_shots(trial.shots)}, seed {trial.seed})"
        else:
            self.done += 1
            self.spent += row.seconds or 0.0
            self.expected += trial.estimate
            key = (trial.model, trial.method, trial.shots)
            if row.status == "ok":
                self.scores[key].append(getattr(row, self.session.request.metric))
            else:
                self.failed[key] = row.reason
            self._plain(trial, row)
        if self.live is not None:
            self.live.update(self._table())

    def stop(self) -> None:
        if self.live is not None:
            self.live.update(self._table(final=True))
            self.live.stop()

    def result(self, found) -> None:
        """The verdict and where everything is; for a dry run, the plan."""
        if isinstance(found, dict):
            self._plan(found)
            return
        self.console.print()
        self.console.print(_leaderboard(found))
        if found.verdict:
            self.console.print(Text(found.verdict))
        folder = self.session.folder
        self.console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
        if (folder / "winner").exists():
            self.console.print(f"winner: {folder / 'winner'}", soft_wrap=True)

    def _plain(self, trial, row) -> None:
        if self.live is not None:
            return
        score = f"{getattr(row, self.session.request.metric):.1%}" if row.status == "ok" else f"failed: {row.reason}"
        place = f"[{self.done}/{self.total}]"
        line = f"{place} {trial.method}, {_shots(trial.shots)}, seed {trial.seed}: {score}  {_seconds(row.seconds)}"
        self.console.print(Text(line), soft_wrap=True)

    def _table(self, final: bool = False) -> Table:
        left = max(sum(t.estimate for t in self.session.plan.trials) - self.expected, 0.0)
        elapsed = time.monotonic() - self.started
        if self.done:
            left = (
                elapsed / self.done * (self.total - self.done)
                if not self.expected
                else (left * elapsed / max(self.expected, 1e-6))
            )
        title = f"{self.done} of {self.total} trials" + (
            "" if final or not self.running else f", now {self.running}, about {_clock(left)} left"
        )
        shots = self.session.request.shots
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("method")
        for item in shots:
            table.add_column(_shots(item), justify="right")
        several = len(self.session.stages) > 1
        for model, method in dict.fromkeys((t.model, t.method) for t in self.session.plan.trials):
            cells = [self._cell(model, method, item) for item in shots]
            table.add_row(f"{method} ({model})" if several else method, *cells)
        return table

    def _cell(self, model: str, method: str, shots) -> str:
        key = (model, method, shots)
        if key in self.scores:
            return f"{sum(self.scores[key]) / len(self.scores[key]):.1%}"
        return "failed" if key in self.failed else "."

    def _plan(self, found: dict) -> None:
        table = Table(box=None, pad_edge=False)
        for name, side in (
            ("method", "left"),
            ("shots", "right"),
            ("seeds", "right"),
            ("seconds", "right"),
            ("configuration", "left"),
        ):
            table.add_column(name, justify=side)
        groups: dict[tuple, list[dict]] = defaultdict(list)
        for trial in found["trials"]:
            groups[trial["method"], trial["model"], trial["shots"]].append(trial)
        for (method, _, shots), trials in groups.items():
            config = ", ".join(f"{key} {value}" for key, value in trials[0]["config"].items())
            table.add_row(method, str(shots), str(len(trials)), f"{trials[0]['estimate']:.1f}", config)
        self.console.print(table)
        for item in found["skipped"]:
            self.console.print(Text(f"skipped {item['method']}: {item['reason']}", style="dim"))
        self.console.print(f"{len(found['trials'])} trials, about {_clock(found['estimate_seconds'])}")


def _leaderboard(board) -> Table:
    """The largest shots, best first."""
    largest = board.recommended.shots if board.recommended else (board.summary[-1].shots if board.summary else None)
    table = Table(
        title=f"{_shots(largest)}" if largest else "no results", title_justify="left", box=None, pad_edge=False
    )
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
            f"{item.mean:.1%}", f"{item.low:.1%} to {item.high:.1%}", p, _seconds(item.seconds), trained,
        )  # fmt: skip
    return table


def _shots(shots) -> str:
    return "all labels" if shots == "all" else f"{shots} label{'s' if shots != 1 else ''} a class"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _clock(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds < 5400 else f"{seconds / 3600:.1f} h"
