import json
import os
import shutil
import signal

import pytest
import torch

import warmstart as ws
from warmstart.compare.board import Board
from warmstart.compare.predictions import Predictions
from warmstart.compare.session import open_session
from warmstart.data import DataError

ARGUMENTS = {"shots": (1, 4), "seeds": 2, "budget": 0.5, "methods": "nearest_mean,linear_head,full"}
MEASURED = ("seconds", "predict_ms", "peak_memory_mb")


@pytest.fixture(scope="module")
def cluster():
    """A local cluster with room for two workers."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2 * torch.get_num_threads(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def local(bert, topics, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "o"
    ws.compare(bert, topics, **ARGUMENTS, out=folder)
    return folder


def same_plan(local, folder):
    """The plan of the local run, nothing of it done."""
    folder.mkdir()
    shutil.copy(local / "plan.json", folder / "plan.json")
    return folder


class Workers:
    """A display that notes how many trials ran at a time, and may do something when one is done."""

    def __init__(self, do=None):
        self.running, self.most, self.do = set(), 0, do

    def planning(self, line):
        pass

    def start(self, session):
        self.session = session

    def trial(self, trial, row):
        if row is None:
            self.running.add(trial.id)
            self.most = max(self.most, len(self.running))
        else:
            self.running.discard(trial.id)
            if self.do is not None:
                self.do(trial)

    def stop(self):
        pass


@pytest.mark.slow
def test_two_workers_give_the_board_of_the_local_engine(cluster, local, bert, topics, tmp_path):
    folder, workers = same_plan(local, tmp_path / "o"), Workers()
    ws.compare(bert, topics, **ARGUMENTS, out=folder, resume=True, engine="ray", progress=workers)
    assert workers.most == 2
    tables = [Predictions.read(path / "predictions.parquet").table for path in (local, folder)]
    assert tables[0].equals(tables[1])
    boards = [Board.read(path) for path in (local, folder)]
    rows = [[row.model_dump(exclude=set(MEASURED)) for row in board.rows] for board in boards]
    assert rows[0] == rows[1]
    scores = [[(s.method, s.shots, s.mean, s.low, s.high, s.p_holm) for s in board.summary] for board in boards]
    assert scores[0] == scores[1]
    assert json.loads((folder / "winner" / "trial.json").read_text())["seed"] == 0


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_trial_a_second_attempt(cluster, local, bert, topics, tmp_path, monkeypatch):
    from warmstart.compare import ray_engine

    marker = tmp_path / "died"

    class Dying(ray_engine.Worker):
        def run(self, place):
            from pathlib import Path

            if place == 3 and not Path(marker).exists():
                Path(marker).write_text("once")
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(place)

    monkeypatch.setattr(ray_engine, "Worker", Dying)
    folder = same_plan(local, tmp_path / "o")
    board = ws.compare(bert, topics, **ARGUMENTS, out=folder, resume=True, engine="ray")
    assert marker.exists()
    assert {row.status for row in board.rows} == {"ok"}


@pytest.mark.slow
def test_a_trial_that_kills_every_worker_fails_its_row_alone(cluster, local, bert, topics, tmp_path, monkeypatch):
    from warmstart.compare import ray_engine

    class Dying(ray_engine.Worker):
        def run(self, place):
            if place == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(place)

    monkeypatch.setattr(ray_engine, "Worker", Dying)
    folder = same_plan(local, tmp_path / "o")
    board = ws.compare(bert, topics, **ARGUMENTS, out=folder, resume=True, engine="ray")
    (failed,) = [row for row in board.rows if row.status == "failed"]
    assert failed.reason == "its worker process died 2 times, for want of memory perhaps"
    assert len(board.rows) == 24


@pytest.mark.slow
def test_data_that_a_worker_does_not_find_is_one_clear_error(cluster, local, bert, topics, tmp_path, monkeypatch):
    def moved(*arguments, **options):
        session = open_session(*arguments, **options)
        plan = json.loads((session.folder / "plan.json").read_text())
        plan["request"]["source"] = "nowhere.csv"
        (session.folder / "plan.json").write_text(json.dumps(plan))
        return session

    monkeypatch.setattr("warmstart.compare.command.open_session", moved)
    folder = same_plan(local, tmp_path / "o")
    with pytest.raises(DataError, match="nowhere.csv"):
        ws.compare(bert, topics, **ARGUMENTS, out=folder, resume=True, engine="ray")
    assert Board.read(folder).partial
