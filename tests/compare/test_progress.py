import io
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from warmstart.compare.board import Board, Row
from warmstart.compare.plan import Trial
from warmstart.compare.progress import Countdown, Progress, clock


@dataclass
class Session:
    """What a display reads of a session."""

    trials: list
    folder: Path = Path("runs/x")
    stages: list = field(default_factory=lambda: ["one"])
    notes: list = field(default_factory=list)

    def __post_init__(self):
        class Plan:
            trials, skipped = self.trials, [{"method": "zero_shot", "reason": "numeric labels"}]

        class Splits:
            warnings = self.notes

        class Request:
            shots, metric = (1, 4), "accuracy"

        self.plan, self.splits, self.request, self.todo = Plan, Splits, Request, self.trials


def trial(method="gda", shots=1, seed=0, estimate=2.0):
    return Trial(method, "predictor", "minilm", shots, seed, {}, estimate)


def row(of, accuracy=0.5, **changes):
    return Row(**{"method": of.method, "model": of.model, "shots": of.shots, "seed": of.seed, "seconds": 1.0,
                  "accuracy": accuracy} | changes)  # fmt: skip


def shown(terminal=False, width=100, height=30, trials=None, term="xterm", **session):
    trials = [trial(), trial(seed=1), trial("knn", 4)] if trials is None else trials
    text = io.StringIO()
    look = {"markup": False, "highlight": False, "_environ": {"TERM": term}}
    console = Console(file=text, force_terminal=terminal, width=width, height=height, **look)
    progress = Progress(console)
    progress.planning("loading minilm")
    progress.start(Session(trials, **session))
    for one in trials:
        progress.trial(one, None)
        failed = {"status": "failed", "reason": "nan", "accuracy": None} if one.method == "knn" else {}
        progress.trial(one, row(one, **failed))
    progress.stop()
    return text.getvalue()


def test_lines_say_what_ran_how_it_did_and_how_long_is_left():
    text = shown()
    assert "3 trials, about 6 s; results go to runs/x" in text
    assert "skipped zero_shot: numeric labels" in text
    assert "[1/3] gda, 1 label a class, seed 0: 50.0%  1.00 s, about" in text
    assert "[3/3] knn, 4 labels a class, seed 0: failed: nan" in text
    assert "\x1b" not in text


def test_a_table_says_how_each_method_stands():
    text = shown(terminal=True)
    assert "3 of 3 trials" in text
    assert "now gda (1 label a class, seed 0), about" in text
    assert "50.0%" in text
    assert "failed" in text


def test_a_terminal_that_cannot_move_its_cursor_gets_lines():
    assert "[3/3] knn" in shown(terminal=True, term="dumb")


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 40), (7, 3), (400, 2)])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_terminal_is_too_small(size, terminal):
    shown(terminal, *size, trials=[trial(f"method_{i}") for i in range(20)])


def test_a_note_is_said_once():
    text = shown(notes=["two duplicates", "two duplicates"])
    assert text.count("two duplicates") == 1


def test_names_that_look_like_markup_are_shown_as_they_are():
    text = shown(trials=[trial("[red]gda[/]")], folder=Path("runs/[bold]x"), notes=["[link=a]b"])
    assert "[red]gda[/], 1 label" in text
    assert "runs/[bold]x" in text
    assert "[link=a]b" in text
    assert "[red]gda[/]" in shown(terminal=True, trials=[trial("[red]gda[/]")])


def board(**changes):
    found = Board(rows=[row(trial()), row(trial("knn"), status="failed", reason="nan", accuracy=None)], **changes)
    text = io.StringIO()
    progress = Progress(Console(file=text, width=100, markup=False))
    progress.session = Session([])
    progress.result(found)
    return text.getvalue()


def test_a_result_names_its_report_and_what_failed():
    text = board(partial=False, verdict="Use gda.")
    assert "Use gda." in text
    assert "knn: failed: nan" in text
    assert "report: runs/x/report.html" in text
    assert "interrupted" not in text


def test_an_interrupted_result_says_how_to_go_on():
    assert "the same command with --out runs/x --resume goes on" in board(partial=True)


def test_a_dry_run_lists_methods_and_the_time_it_would_take():
    text = io.StringIO()
    trials = [vars(trial(seed=seed)) | {"config": {"folds": 3}} for seed in (0, 1)]
    Progress(Console(file=text, width=100, markup=False)).result(
        {"trials": trials, "skipped": [], "warnings": ["a note"], "encode_seconds": 40.0, "estimate_seconds": 44.0}
    )
    words = text.getvalue()
    assert "folds 3" in words
    assert "note: a note" in words
    assert "2 trials: about 40 s of encoding and about 44 s in all; nothing was written" in words


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_time_left_is_the_estimate_at_first_and_counts_down():
    at = Clock()
    left = Countdown(60, at)
    assert left.left() == 60
    at.now = 10
    assert left.left() == 50


def test_time_left_follows_the_pace():
    at = Clock()
    left = Countdown(100, at)
    at.now = 60
    left.finished(20)
    assert 150 < left.left() < 240


def test_two_workers_halve_the_time_left():
    at = Clock()
    left = Countdown(100, at)
    at.now = 25
    left.finished(25)
    left.finished(25)
    assert 20 < left.left() < 35


def test_time_left_is_never_negative():
    at = Clock()
    left = Countdown(5, at)
    at.now = 1000
    assert left.left() == 0
    left.finished(9)
    assert left.left() == 0
    assert Countdown(0.0, at).left() == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.6, "60 s"), (100, "1 min 40 s"), (3599, "59 min 59 s"), (7200, "2.0 h")]
)
def test_times_are_short(seconds, text):
    assert clock(seconds) == text
