import csv
import errno
import json
import os
from pathlib import Path

import pytest
from torch import nn
from toys import TOPICS, save_tiny_bert, sentences, write_csv

import warmstart as ws
from warmstart.compare.board import Board
from warmstart.compare.predictions import Predictions
from warmstart.data import DataError, load_data
from warmstart.engine.atomic import exclusive
from warmstart.models import ModelError
from warmstart.predictors.nearest_mean import NearestMean


class Recorder:
    """A progress display that remembers, and does something at one trial."""

    def __init__(self, at=None, do=None):
        self.lines, self.done, self.stopped = [], [], False
        self.at, self.do = at, do

    def planning(self, line):
        self.lines.append(line)

    def start(self, session):
        self.session = session

    def trial(self, trial, row):
        if row is not None:
            self.done.append((trial, row))
            if len(self.done) == self.at:
                self.do()

    def stop(self):
        self.stopped = True


def interrupt():
    raise KeyboardInterrupt


def rows_of(count=12, seed=0):
    return [(text, topic) for topic in TOPICS for text in sentences(topic, count, seed)]


def test_a_dry_run_says_the_plan_and_an_estimate_and_writes_nothing(compare, tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))
    found = compare(shots=(1, 4), seeds=2, methods="nearest_mean,freeze", out=tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.rglob("*data.npy") if "pooled" in str(path)]
    assert len(found["trials"]) == 5 * 2 * 2
    assert found["encode_seconds"] >= 0
    trials = sum(trial["estimate"] for trial in found["trials"])
    assert found["estimate_seconds"] == pytest.approx(trials + found["encode_seconds"], abs=0.11)


def test_a_dry_run_over_a_comparison_tells_what_is_left(compare, tmp_path):
    compare(out=tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    found = compare(methods="ridge", out=tmp_path / "out", dry_run=True)
    assert {trial["method"] for trial in found["trials"]} == {"ridge"}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("at", [1, 5])
def test_an_interrupted_comparison_is_partial_and_goes_on(compare, tmp_path, at):
    arguments = {"methods": "nearest_mean,gda", "seeds": 2, "out": tmp_path / "out"}
    progress = Recorder(at, interrupt)
    board = compare(**arguments, progress=progress)
    assert board.partial
    assert progress.stopped
    assert len(Board.read(tmp_path / "out").rows) == at
    assert "partial" in (tmp_path / "out" / "report.html").read_text().lower()
    again = Recorder()
    board = compare(**arguments, resume=True, progress=again)
    assert not board.partial
    assert len(again.done) == 10 - at
    assert "partial" not in (tmp_path / "out" / "report.html").read_text().lower()


def test_an_interrupted_comparison_gives_the_board_of_a_whole_one(compare, tmp_path):
    arguments = {"methods": "nearest_mean,linear_head", "seeds": 2, "budget": 1000}
    compare(**arguments, out=tmp_path / "parts", progress=Recorder(7, interrupt))
    compare(**arguments, out=tmp_path / "parts", resume=True)
    compare(**arguments, out=tmp_path / "whole")
    parts, whole = (Predictions.read(tmp_path / name / "predictions.parquet").table for name in ("parts", "whole"))
    assert parts.equals(whole)


def test_a_method_that_fails_leaves_the_others_alone(compare, tmp_path, monkeypatch):
    def broken(self, *arguments):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(NearestMean, "fit", broken)
    board = compare(methods="nearest_mean,gda", out=tmp_path / "out")
    status = {row.method: row.status for row in board.rows}
    assert status.pop("nearest_mean") == "failed"
    assert set(status.values()) == {"ok"}
    assert "no such luck" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "winner" / "trial.json").read_text())["method"] == "gda"


def test_a_folder_in_which_another_comparison_is_at_work_is_left_alone(compare, tmp_path):
    out = tmp_path / "out"
    with exclusive(out), pytest.raises(DataError, match="another process is at work there"):
        compare(out=out)
    assert not list(out.iterdir())
    assert not compare(out=out).partial


def test_a_full_disk_is_one_clear_error_and_what_was_done_stays(compare, tmp_path, monkeypatch):
    out, replace = tmp_path / "out", os.replace
    full = []

    def refuse(source, target):
        if full and "trials" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match="No space left on device.*free some space"):
        compare(methods="nearest_mean", seeds=2, out=out, progress=Recorder(3, lambda: full.append(True)))
    board = Board.read(out)
    assert board.partial
    assert len(board.rows) == 3
    monkeypatch.undo()
    assert not compare(methods="nearest_mean", seeds=2, out=out, resume=True).partial


def test_a_full_disk_while_encoding_is_one_clear_error(compare, tmp_path, monkeypatch):
    from warmstart.engine.store import Store

    def refuse(self, *arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "features")

    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Store, "write", refuse)
    with pytest.raises(DataError, match="no space left"):
        compare(out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Net(nn.Module):
    image_size = 16

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x):
        return self.convolution(x).flatten(1)


def test_objects_can_be_compared(shapes, tmp_path):
    data, out = load_data(shapes), tmp_path / "o"
    board = ws.compare(Net(), data, shots=(2,), methods=["logistic"], seeds=1, budget=1, out=out)
    assert {row.model for row in board.rows} == {"Net"}
    assert board.run["data"] == "Splits"
    assert ws.load(out / "winner", module=Net()).probabilities(data.test).shape == (24, 2)


def test_two_models_of_one_class_keep_apart(shapes, tmp_path):
    board = ws.compare([Net(), Net()], shapes, shots=(2,), methods=["logistic"], seeds=1, budget=1, out=tmp_path / "o")
    assert {row.model for row in board.rows} == {"Net", "Net (2)"}
    assert len(board.rows) == 8


def test_a_datasets_dataset_can_be_compared(bert, tmp_path):
    import datasets

    text, label = zip(*rows_of(), strict=True)
    data = datasets.Dataset.from_dict({"text": list(text), "label": list(label)})
    board = ws.compare(bert, data, shots=(2,), methods="nearest_mean", seeds=1, budget=1, out=tmp_path / "o")
    assert {row.status for row in board.rows} == {"ok"}


def test_ray_refuses_what_other_processes_cannot_find(shapes, topics, bert, tmp_path):
    with pytest.raises(DataError, match="engine ray: Net, data was given as an object"):
        ws.compare(Net(), load_data(shapes), engine="ray", out=tmp_path / "o")
    with pytest.raises(DataError, match="engine ray: unlabeled was given as an object"):
        ws.compare(bert, topics, unlabeled=load_data(topics).train.table, engine="ray", out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_the_splits_of_the_caller_are_not_written_to(compare, topics, tmp_path):
    splits = load_data(topics)
    before = list(splits.warnings)
    for name in ("a", "b"):
        compare(data=splits, shots=None, out=tmp_path / name)
    assert splits.warnings == before


def test_default_shots_that_a_class_cannot_give_are_left_out_with_a_note(compare, tmp_path):
    board = compare(shots=None, out=tmp_path / "o")
    assert {row.shots for row in board.rows} == {1, 4}
    assert board.warnings == ["class 'animals' has 8 training rows: 16 shots are left out"]


def test_shots_asked_for_that_a_class_cannot_give_are_refused(compare, tmp_path):
    with pytest.raises(DataError, match="class 'animals' has 8 training rows, and 16 shots were asked for"):
        compare(shots=(1, 16), out=tmp_path / "o")


def test_truncated_texts_are_counted_once_a_model(compare, tmp_path):
    (text, label), *others = rows_of()
    data = write_csv(tmp_path / "long.csv", [(f"{text} {'cat ' * 40}", label), *others])
    board = compare(data=str(data), shots=("all",), out=tmp_path / "o")
    lines = [line for line in board.warnings if "only the start" in line]
    assert lines == ["bert reads only the start of 1 of 36 texts"]


def test_duplicates_are_counted_in_one_line(compare, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_csv(data / "train.csv", rows_of())
    write_csv(data / "test.csv", [*rows_of(seed=1), *rows_of()[:2]])
    board = compare(data=str(data), out=tmp_path / "o")
    assert len([line for line in board.warnings if "duplicate" in line]) == 1
    assert "2 of 38 test rows" in "".join(board.warnings)


def test_two_models_stand_in_one_board(compare, bert, tmp_path):
    other = save_tiny_bert(tmp_path / "other")
    board = compare(f"{bert},{other}", out=tmp_path / "o")
    assert {row.model for row in board.rows} == {"bert", "other"}
    assert {s.model for s in board.summary} == {"bert", "other"}
    assert compare(f"{bert},{bert}", out=tmp_path / "p").run["model"] == "bert"


def test_rows_can_be_chosen_and_others_be_the_shifted_ones(compare, tmp_path):
    rows = [(*row, "mail") for row in rows_of()] + [(*row, "chat") for row in rows_of(6, 1)]
    data = write_csv(tmp_path / "d.csv", rows, header=("text", "label", "domain"))
    board = compare(data=str(data), where={"domain": "mail"}, shifted_where={"domain": "chat"}, out=tmp_path / "o")
    assert (board.run["rows"]["train"] + board.run["rows"]["test"], board.run["rows"]["shifted"]) == (36, 18)
    assert all(row.shifted_accuracy is not None for row in board.rows)
    splits = Predictions.read(tmp_path / "o" / "predictions.parquet").table["split"].to_pylist()
    assert set(splits) == {"test", "shifted"}


def test_shifted_labels_that_training_has_not_are_told_apart(compare, tmp_path):
    shifted = write_csv(tmp_path / "s.csv", [*rows_of(3, 1), ("one two", "numbers"), ("a piano", "music")])
    board = compare(shifted=str(shifted), out=tmp_path / "o")
    for row in board.rows:
        assert None not in (row.shifted_accuracy, row.shifted_auroc, row.shifted_fpr95)


@pytest.mark.parametrize("role", ["group", "time"])
def test_splits_can_be_by_group_and_by_time(compare, tmp_path, role):
    rows = [(*row, i // 3) for i, row in enumerate(sorted(rows_of()))]
    data = write_csv(tmp_path / "d.csv", rows, header=("text", "label", "when"))
    splits = load_data(str(data), **{role: "when"})
    board = compare(data=str(data), **{role: "when"}, shots=("all",), out=tmp_path / "o")
    assert board.run["rows"]["test"] == len(splits.test)


def test_the_metric_of_the_board_can_be_macro_f1(compare, tmp_path):
    board = compare(metric="macro_f1", seeds=2, out=tmp_path / "o")
    row = {row.method: row.macro_f1 for row in board.rows if row.seed == 0}
    mean = {s.method: s.mean for s in board.summary}
    assert mean["majority"] == pytest.approx(row["majority"], abs=1e-9)


def test_classes_can_be_named_by_a_file(compare, tmp_path):
    data = write_csv(tmp_path / "d.csv", [(text, list(TOPICS).index(label)) for text, label in rows_of()])
    names = tmp_path / "names.txt"
    names.write_text("pets\nmeals\nskies\n")
    compare(data=str(data), label_names=names, out=tmp_path / "o")
    assert ws.load(tmp_path / "o" / "winner").classes == ("pets", "meals", "skies")


def test_no_examples_shows_no_rows(compare, tmp_path):
    compare(out=tmp_path / "shown")
    compare(out=tmp_path / "hidden", examples=False)
    texts = load_data(json.loads((tmp_path / "shown" / "plan.json").read_text())["request"]["source"]).test.texts()
    shown, hidden = ((tmp_path / name / "report.html").read_text() for name in ("shown", "hidden"))
    assert any(text in shown for text in texts)
    assert not any(text in hidden for text in texts)


def test_bad_rows_set_aside_are_listed(compare, tmp_path):
    data = write_csv(tmp_path / "d.csv", [*rows_of(), ("no label", "")])
    with pytest.raises(DataError):
        compare(data=str(data), out=tmp_path / "o")
    compare(data=str(data), skip_bad=True, out=tmp_path / "o")
    with open(tmp_path / "o" / "skipped.csv", newline="") as file:
        header, row = csv.reader(file)
    assert header == ["file", "row", "reason"]
    assert (Path(row[0]).name, row[1]) == ("d.csv", "37")


def test_a_new_folder_is_made_for_each_run(compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compare()
    compare()
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"metric": "f1"}, "metric 'f1': it can be one of accuracy, macro_f1"),
        ({"engine": "spark"}, "engine 'spark'"),
        ({"seeds": 0}, "seeds 0"),
        ({"budget": "soon"}, "budget 'soon' is no time"),
        ({"shots": "many"}, "shots 'many'"),
        ({"methods": "ridgee"}, "did you mean 'ridge'"),
        ({"methods": []}, "no methods"),
        ({"model": "minilmm"}, "no model 'minilmm'"),
        ({"model": ""}, "no model"),
        ({"data": "nowhere.csv"}, "nowhere.csv"),
        ({"label": "lable"}, "did you mean|label"),
    ],
)
def test_wrong_arguments_end_before_anything_is_written(compare, tmp_path, changes, line):
    with pytest.raises((DataError, ModelError), match=line) as caught:
        compare(**changes, out=tmp_path / "o")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_a_model_for_the_wrong_kind_of_data_is_refused(compare, vit, tmp_path):
    with pytest.raises(ModelError, match="reads image, not text"):
        compare(vit, out=tmp_path / "o")
    assert not (tmp_path / "o").exists()
