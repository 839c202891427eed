import errno
import random

import numpy as np
import pyarrow as pa
import pytest
import torch
from toys import write_csv

from warmstart.compare.plan import Trial
from warmstart.compare.request import Request
from warmstart.compare.stage import Stage
from warmstart.compare.trial import run_trial
from warmstart.data import DataError, load_data
from warmstart.predictors.nearest_mean import NearestMean


@pytest.fixture(scope="module")
def make_stage(bert, topics):
    def make(**data):
        return Stage(bert, load_data(topics, **data), Request((bert,), topics, data, (4,), None, 2, 1.0, "accuracy"))

    return make


@pytest.fixture(scope="module")
def stage(make_stage):
    return make_stage()


def trial(stage, method="nearest_mean", kind="predictor", config=None, seed=0):
    config = {"folds": 2} if config is None else config
    return Trial(method, kind, stage.name, 4, seed, config, 1.0)


def answers(outcome, split="test"):
    table = pa.concat_tables([part.table for part in outcome.predictions])
    chosen = [i for i, name in enumerate(table["split"].to_pylist()) if name == split]
    return table.take(chosen)["prediction"].to_numpy(), table.take(chosen)["confidence"].to_numpy()


def test_a_row_says_what_its_predictions_say(stage):
    outcome = run_trial(trial(stage), stage)
    predicted, confidence = answers(outcome)
    right = predicted == stage.splits.test.labels
    assert outcome.row.status == "ok"
    assert outcome.row.accuracy == pytest.approx(right.mean())
    assert (confidence > 1 / 3 - 1e-6).all()
    assert outcome.row.seconds > 0
    assert outcome.row.predict_ms > 0
    assert outcome.row.peak_memory_mb > 0


def test_the_adapted_model_answers_what_was_written(stage):
    outcome = run_trial(trial(stage), stage)
    predicted, confidence = answers(outcome)
    probabilities = outcome.adapted.probabilities(stage.splits.test)
    np.testing.assert_array_equal(probabilities.argmax(1), predicted)
    np.testing.assert_allclose(probabilities.max(1), confidence, atol=1e-6)


TUNED = {"steps": 3, "learning_rates": [1e-3], "holdout": 0, "cut": True}


@pytest.mark.parametrize(("method", "kind", "config"), [("nearest_mean", "predictor", None), ("full", "tuner", TUNED)])
def test_a_trial_gives_the_same_answers_whatever_ran_before_it(stage, method, kind, config):
    first = answers(run_trial(trial(stage, method, kind, config), stage))
    run_trial(trial(stage, "lora", "tuner", TUNED, seed=1), stage)
    torch.rand(7)
    np.random.rand(7)
    again = answers(run_trial(trial(stage, method, kind, config), stage))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_the_generators_of_the_caller_are_left_alone(stage):
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    run_trial(trial(stage, "full", "tuner", TUNED), stage)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_a_budget_that_cut_the_steps_is_said(stage):
    assert run_trial(trial(stage, "full", "tuner", TUNED), stage).row.stopped == "budget: 3 steps"
    whole = {**TUNED, "cut": False}
    assert run_trial(trial(stage, "full", "tuner", whole), stage).row.stopped is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (RuntimeError("bad shapes\nsecond line"), "RuntimeError: bad shapes"),
        (ValueError(), "ValueError: no message"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out of memory: "),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried ..."), "out of GPU memory"),
        (AssertionError("0 != 1"), "AssertionError: 0 != 1"),
    ],
)
def test_whatever_a_method_raises_fails_its_row_with_the_reason(stage, monkeypatch, fault, reason):
    def broken(self, *arguments):
        raise fault

    monkeypatch.setattr(NearestMean, "fit", broken)
    outcome = run_trial(trial(stage), stage)
    assert outcome.row.status == "failed"
    assert outcome.row.reason.startswith(reason)
    assert (outcome.predictions, outcome.adapted, outcome.row.accuracy) == ([], None, None)


def test_scores_that_are_no_numbers_fail_the_row(stage, monkeypatch):
    monkeypatch.setattr(NearestMean, "scores", lambda self, queries: torch.full((len(queries), 3), torch.nan))
    outcome = run_trial(trial(stage, config={"folds": 0}), stage)
    assert (outcome.row.status, outcome.row.reason) == (
        "failed",
        "FloatingPointError: the method's scores are not finite",
    )


def test_a_loss_that_is_no_number_fails_the_row(stage):
    # Adam with such a rate leaves the range of float32 after a step or two.
    config = {**TUNED, "learning_rates": [1e38], "steps": 6}
    row = run_trial(trial(stage, "full", "tuner", config), stage).row
    assert row.status == "failed"
    assert "nan" in row.reason or "not finite" in row.reason or "inf" in row.reason


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_stops_the_run_stops_it(stage, monkeypatch, stop):
    def interrupted(self, *arguments):
        raise stop

    monkeypatch.setattr(NearestMean, "fit", interrupted)
    with pytest.raises(stop):
        run_trial(trial(stage), stage)


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device", "features.npy"),
        RuntimeError('Error: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'),
    ],
)
def test_a_full_disk_ends_the_run_rather_than_the_row(stage, monkeypatch, fault):
    def full(self, *arguments):
        raise fault

    monkeypatch.setattr(NearestMean, "fit", full)
    with pytest.raises(DataError, match="no space left on the disk.*--resume"):
        run_trial(trial(stage), stage)


@pytest.fixture(scope="module")
def shifted(make_stage, tmp_path_factory):
    rows = [("cat dog", "animals"), ("bread milk", "food"), ("dog dog cat", "animals"), ("piano", "music")]
    return make_stage(shifted=str(write_csv(tmp_path_factory.mktemp("data") / "shifted.csv", rows)))


def test_shifted_rows_with_known_labels_are_scored_and_the_others_told_apart(shifted):
    outcome = run_trial(trial(shifted), shifted)
    predicted, confidence = answers(outcome, "shifted")
    labels = shifted.splits.shifted.labels
    assert labels.tolist()[-1] == -1
    assert outcome.row.shifted_accuracy == pytest.approx((predicted == labels)[:3].mean())
    known = answers(outcome)[1]
    expected = (known > confidence[3]).mean() + (known == confidence[3]).mean() / 2
    assert outcome.row.shifted_auroc == pytest.approx(expected)
    assert outcome.row.shifted_fpr95 in (0.0, 1.0)


def test_without_shifted_rows_nothing_is_said_of_them(stage):
    row = run_trial(trial(stage), stage).row
    assert (row.shifted_accuracy, row.shifted_auroc, row.shifted_fpr95) == (None, None, None)


def test_unlabeled_rows_reach_the_predictors(make_stage, tmp_path, monkeypatch):
    path = write_csv(tmp_path / "more.csv", [("cat cat",), ("rain",)], header=("text",))
    stage, seen = make_stage(unlabeled=str(path)), []
    fit = NearestMean.fit

    def spy(self, train, classes, unlabeled=None):
        seen.append(None if unlabeled is None else (len(unlabeled), unlabeled.labels))
        return fit(self, train, classes, unlabeled)

    monkeypatch.setattr(NearestMean, "fit", spy)
    run_trial(trial(stage), stage)
    assert seen[-1] == (2, None)


@pytest.mark.parametrize("method", ["majority", "raw_logistic", "random_backbone"])
def test_floors_are_rows_like_others_without_a_model_to_keep(stage, method):
    outcome = run_trial(trial(stage, method, "floor", {}), stage)
    assert outcome.row.status == "ok", outcome.row.reason
    assert outcome.row.floor
    assert outcome.adapted is None
    assert len(answers(outcome)[0]) == len(stage.splits.test)
