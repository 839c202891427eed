import json
import shutil

import numpy as np
import pytest
import torch
from toys import TOPICS, sentences, write_csv

import warmstart as ws
from warmstart.compare.board import Board
from warmstart.compare.plan import Plan
from warmstart.compare.predictions import Predictions
from warmstart.compare.session import Session, follow
from warmstart.compare.stage import make_stages
from warmstart.compare.trial import run_trial
from warmstart.data import DataError, load_data


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished comparison, to be changed."""
    return shutil.copytree(finished, tmp_path / "copied")


def trials_of(folder, *parts):
    """Files in trials/ whose name holds all of these parts."""
    return sorted(path for path in (folder / "trials").iterdir() if all(part in path.name for part in parts))


def test_the_folder_holds_board_predictions_report_and_winner(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {"board.json", "plan.json", "predictions.parquet", "report.html", "trials", "winner"}
    kinds = {path.suffix for path in finished.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".parquet", ".html", ".safetensors"}
    assert not list(finished.rglob(".*"))


def test_every_trial_has_its_row_and_its_predictions(finished):
    board, table = Board.read(finished), Predictions.read(finished / "predictions.parquet").table
    assert len(board.rows) == len(Plan.read(finished).trials) == 5 * 2 * 2
    assert not board.partial
    assert {row.status for row in board.rows} == {"ok"}
    assert table.num_rows == len(board.rows) * 60


def test_the_winner_is_the_recommended_method_at_the_first_seed_and_largest_shots(compare, tmp_path):
    board = compare(shots=(1, 4), methods="nearest_mean,gda", seeds=2, out=tmp_path / "out")
    trial = json.loads((tmp_path / "out" / "winner" / "trial.json").read_text())
    assert (trial["shots"], trial["seed"]) == (4, 0)
    means = {s.method: s.mean for s in board.summary if s.shots == 4 and s.method in ("nearest_mean", "gda")}
    if not board.recommended.floor:
        assert trial["method"] == board.recommended.method
    else:
        assert means[trial["method"]] == max(means.values())


def test_resuming_a_finished_comparison_changes_nothing(copied, compare):
    before = Predictions.read(copied / "predictions.parquet").table
    rows = Board.read(copied).rows
    compare(shots=(1, 4), methods="nearest_mean,gda", seeds=2, out=copied, resume=True)
    assert Predictions.read(copied / "predictions.parquet").table.equals(before)
    assert Board.read(copied).rows == rows


def test_what_is_missing_is_run_again_with_the_same_answers(copied, compare):
    before = Predictions.read(copied / "predictions.parquet").table
    lost = trials_of(copied, "gda", ".json")[0]
    lost.unlink()
    trials_of(copied, "nearest_mean", "-4-1-", ".json")[0].unlink()
    board = compare(shots=(1, 4), methods="nearest_mean,gda", seeds=2, out=copied, resume=True)
    assert len(board.rows) == 20
    assert Predictions.read(copied / "predictions.parquet").table.equals(before)


def test_predictions_without_a_row_are_not_counted(copied):
    """A kill between the two leaves the row to be made again."""
    trials_of(copied, "majority", "-1-0-", ".json")[0].unlink()
    session = follow(copied)
    board = session.board(partial=True)
    assert (len(board.rows), board.partial) == (19, True)
    assert Predictions.read(copied / "predictions.parquet").table.num_rows == 19 * 60
    assert [trial.method for trial in session.todo] == ["majority"]


ARGUMENTS = {"shots": (1, 4), "methods": "nearest_mean,gda", "seeds": 2}


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seeds": 3}, "seeds: 2 -> 3"),
        ({"shots": (1,)}, "shots: 1,4 -> 1"),
        ({"budget": 9}, "budget: 0.2 -> 9.0"),
        ({"metric": "macro_f1"}, "metric: accuracy -> macro_f1"),
        ({"text": "text"}, "text: not given -> text"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_other_arguments_are_refused_with_the_difference(finished, compare, changes, difference, resume):
    with pytest.raises(DataError, match="other arguments: " + difference):
        compare(**{**ARGUMENTS, **changes}, out=finished, resume=resume)


@pytest.mark.parametrize("methods", ["nearest_mean", "nearest_mean,gda,knn", None])
def test_resuming_with_other_methods_is_refused(finished, compare, methods):
    with pytest.raises(DataError, match="methods: nearest_mean,gda -> "):
        compare(**{**ARGUMENTS, "methods": methods}, out=finished, resume=True)


def test_other_data_under_the_same_name_is_refused(compare, tmp_path):
    rows = [(text, topic) for topic in TOPICS for text in sentences(topic, 12, 0)]
    data, out = write_csv(tmp_path / "rows.csv", rows), tmp_path / "out"
    compare(data=str(data), out=out)
    write_csv(data, [*rows[:-1], ("the rain the rain", "weather")])
    for resume in (True, False):
        with pytest.raises(DataError, match=r"made from other data than there is now \(.*other contents"):
            compare(data=str(data), out=out, resume=resume)
    write_csv(data, [*rows, ("the rain the rain", "weather")])
    with pytest.raises(DataError, match=r"test: \d+ then, \d+ now|train: \d+ then, \d+ now"):
        compare(data=str(data), out=out, resume=True)


def test_other_weights_under_the_same_name_are_refused(compare, bert, tmp_path):
    from safetensors.torch import load_file, save_file

    model, out = shutil.copytree(bert, tmp_path / "model"), tmp_path / "out"
    compare(str(model), out=out)
    tensors = load_file(model / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] += 1
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="weights of model: other contents"):
        compare(str(model), out=out, resume=True)


def test_naming_a_finished_comparison_adds_methods(copied, compare):
    before = Predictions.read(copied / "predictions.parquet").table.to_pylist()
    board = compare(**{**ARGUMENTS, "methods": "ridge"}, out=copied)
    assert {row.method for row in board.rows} >= {"nearest_mean", "gda", "ridge"}
    assert len(board.rows) == 24
    after = Predictions.read(copied / "predictions.parquet").table.to_pylist()
    assert [row for row in after if row["method"] != "ridge"] == before
    for methods in ("ridge", "nearest_mean,gda"):
        assert len(compare(**{**ARGUMENTS, "methods": methods}, out=copied, resume=True).rows) == 24


def test_a_folder_of_something_else_is_left_alone(compare, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="not empty and not a comparison"):
        compare(out=tmp_path)
    with pytest.raises(DataError, match="nothing to resume"):
        compare(out=tmp_path, resume=True)
    with pytest.raises(DataError, match="not empty and not a comparison"):
        compare(out=tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.fixture
def opened(bert, topics, finished, tmp_path):
    """A session of the same plan in an empty folder."""
    plan = Plan.read(finished)
    plan.write(tmp_path)
    splits = load_data(topics)
    return Session(splits, make_stages([bert], splits, plan.request), tmp_path, plan)


def arm(session, method="gda"):
    return [trial for trial in session.plan.trials if (trial.method, trial.shots) == (method, 4)]


def test_a_trial_counts_only_when_all_of_it_is_on_disk(opened, monkeypatch):
    trial = arm(opened)[0]
    monkeypatch.setattr(Predictions, "append", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        opened.run(trial)
    assert not opened.finished(trial)
    monkeypatch.undo()
    opened.run(trial)
    assert opened.finished(trial)


def test_a_half_saved_model_is_no_model(opened, monkeypatch):
    from warmstart.adapted import Adapted

    save = Adapted.save

    def half(self, folder, **arguments):
        save(self, folder, **arguments)
        raise KeyboardInterrupt

    trial = arm(opened)[0]
    monkeypatch.setattr(Adapted, "save", half)
    with pytest.raises(KeyboardInterrupt):
        opened.run(trial)
    assert not opened.model_path(trial).exists()
    monkeypatch.undo()
    opened.run(trial)
    assert opened.model_path(trial).exists()
    assert not trials_of(opened.folder, ".tmp")


def test_the_first_seed_that_worked_may_win(opened, monkeypatch):
    from warmstart.predictors.gda import Gda

    first, second = arm(opened)
    with monkeypatch.context() as patched:
        patched.setattr(Gda, "scores", lambda self, queries: torch.full((len(queries), 3), torch.nan))
        assert opened.run(first).status == "failed"
    opened.run(second)
    assert not opened.model_path(first).exists()
    assert opened.model_path(second).exists()
    opened.finish(partial=True)
    assert json.loads((opened.folder / "winner" / "trial.json").read_text())["seed"] == 1


def test_the_winner_is_the_same_whichever_seed_was_done_first(opened):
    first, second = arm(opened)
    opened.run(second)
    opened.run(first)
    opened.finish(partial=True)
    assert json.loads((opened.folder / "winner" / "trial.json").read_text())["seed"] == 0


def test_a_model_that_cannot_be_saved_fails_its_row(opened, monkeypatch):
    from warmstart.adapted import Adapted

    monkeypatch.setattr(Adapted, "save", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("shared tensors")))
    row = opened.run(arm(opened)[0])
    assert (row.status, row.reason) == ("failed", "cannot be saved: shared tensors")


def test_a_partial_board_without_any_trial_is_valid(opened):
    board = opened.finish(partial=True)
    assert (board.partial, board.rows, board.recommended) == (True, [], None)
    assert Board.read(opened.folder).partial
    assert "partial" in (opened.folder / "report.html").read_text().lower()
    assert not (opened.folder / "winner").exists()


def test_another_process_follows_the_plan_to_the_same_answers(finished):
    session = follow(finished)
    trial = arm(session)[0]
    outcome = run_trial(trial, session.stage(trial))
    kept = Predictions.read(Predictions.trial_path(finished, trial.id)).table
    assert kept.equals(outcome.predictions[0].table)


def test_the_winner_gives_the_predictions_of_its_row(finished, topics):
    trial = json.loads((finished / "winner" / "trial.json").read_text())
    table = Predictions.read(finished / "predictions.parquet").table.to_pylist()
    mine = [
        row for row in table
        if (row["method"], row["shots"], row["seed"]) == (trial["method"], str(trial["shots"]), trial["seed"])
    ]  # fmt: skip
    probabilities = ws.load(finished / "winner").probabilities(load_data(topics).test)
    assert probabilities.argmax(1).tolist() == [row["prediction"] for row in mine]
    np.testing.assert_allclose(probabilities.max(1), [row["confidence"] for row in mine], atol=1e-5)


def test_the_board_says_what_was_run(finished):
    run = Board.read(finished).run
    assert run["rows"] == {"train": 24, "drawn": 24, "test": 60} | {"drawn": run["rows"]["drawn"]}
    assert run["rows"]["drawn"] <= 24
    assert {"warmstart", "torch"} <= set(run["versions"])
    assert run["threads"] >= 1
