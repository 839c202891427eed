import errno
import json
import os

import numpy as np
import pytest
from pydantic import ValidationError

from warmstart.compare.board import Board, Row, Skipped
from warmstart.compare.predictions import Predictions
from warmstart.data.dataset import DataError

LABELS = np.arange(600) % 6


def run(trials, seeds=3, **options):
    """trials: (method, shots, accuracy, seconds[, model]) -> a board with rows, and the predictions."""
    rng, board, parts = np.random.default_rng(0), Board(**options), []
    for method, shots, accuracy, seconds, *model in trials:
        model = model[0] if model else "minilm"
        for seed in range(seeds):
            answers = np.where(rng.random(len(LABELS)) < accuracy, LABELS, (LABELS + 1) % 6)
            board.add(
                Row(
                    method=method,
                    model=model,
                    shots=shots,
                    seed=seed,
                    accuracy=(answers == LABELS).mean(),
                    seconds=seconds + seed,
                    trainable_parameters=np.int64(10),
                    floor=method in ("majority", "tfidf"),
                )
            )
            parts.append(Predictions.of(method, model, shots, seed, "test", LABELS, answers, np.full(600, 0.9)))
    return board, Predictions.join(parts)


def test_board_survives_the_round_trip_with_nan_as_null(tmp_path):
    board, predictions = run([("knn", 5, 0.8, 1), ("lora", "all", 0.9, 5)], partial=False)
    board.add(Row(method="full", model="minilm", shots=5, seed=0, status="failed", reason="out of memory"))
    board.rows[0].ece = None
    board.add(
        Row(
            method="gda",
            model="minilm",
            shots=5,
            seed=0,
            ece=float("nan"),
            config={"a": np.float32(0.5), "b": np.nan},
        )
    )
    board.skipped.append(Skipped(method="zero_shot", reason="the labels are numbers"))
    board.run = {"command": "warmstart compare", "seconds": float("inf"), "versions": {"numpy": "2"}}
    board.summarize(predictions)
    board.write(tmp_path)
    raw = json.loads((tmp_path / "board.json").read_text(), parse_constant=pytest.fail)
    gda = next(row for row in raw["rows"] if row["method"] == "gda")
    assert gda["ece"] is None
    assert gda["config"] == {"a": 0.5, "b": None}
    assert raw["run"]["seconds"] is None
    again = Board.read(tmp_path)
    again.write(tmp_path / "again")
    assert (tmp_path / "again" / "board.json").read_bytes() == (tmp_path / "board.json").read_bytes()
    assert again.rows[-1].shots == "all"
    assert again.summary == board.summary
    assert again.recommended == board.recommended


def test_rows_have_the_promised_fields():
    promised = (
        "method model shots seed accuracy macro_f1 ece shifted_accuracy forgetting seconds predict_ms "
        "trainable_parameters peak_memory_mb status reason stopped"
    )
    assert set(promised.split()) <= set(Row.model_fields)


def test_rows_stand_in_one_order_and_a_trial_has_one_row():
    board = Board()
    for shots, seed in (("all", 0), (16, 1), (4, 0), (16, 0), (16, 1)):
        board.add(Row(method="knn", model="m", shots=shots, seed=seed, accuracy=seed))
    assert [(row.shots, row.seed) for row in board.rows] == [(4, 0), (16, 0), (16, 1), ("all", 0)]


def test_misspelt_field_is_refused():
    with pytest.raises(ValidationError):
        Row(method="knn", model="m", shots=1, seed=0, acuracy=0.5)
    with pytest.raises(ValidationError):
        Row(method="knn", model="m", shots="most", seed=0)


def test_summary_recommends_the_cheapest_equivalent_at_the_largest_shots():
    trials = [("majority", s, 1 / 6, 0) for s in (1, 5)] + [("tfidf", s, 0.5, 0.2) for s in (1, 5)]
    trials += [("knn", 1, 0.9, 1), ("lora", 1, 0.5, 30), ("knn", 5, 0.8, 4), ("lora", 5, 0.8, 30)]
    board, predictions = run(trials, partial=False)
    board.summarize(predictions)
    assert len(board.summary) == 8
    summary = {(entry.method, entry.shots): entry for entry in board.summary}
    knn = summary["knn", 5]
    assert knn.mean == pytest.approx(np.mean([r.accuracy for r in board.rows if (r.method, r.shots) == ("knn", 5)]))
    assert knn.low < knn.mean < knn.high
    assert knn.seconds == 5  # the median of 4, 5, 6
    assert summary["lora", 1].p_holm < 0.05
    assert [e.method for e in board.summary if e.shots == 1 and e.pareto] == ["knn", "majority", "tfidf"]
    assert (board.recommended.method, board.recommended.shots) == ("knn", 5)
    assert [arm.method for arm in board.recommended.chosen_on_halves] == ["knn", "knn"]
    assert [board.recommended.accuracy, board.recommended.mean] == pytest.approx([knn.mean] * 2)
    cheapest = "No method is significantly better than knn, the cheapest that uses the pretrained model: "
    assert board.verdict.startswith(cheapest)
    assert "Pretraining helped: tfidf" in board.verdict


def test_of_equals_a_floor_is_the_last_to_be_recommended():
    board, predictions = run([("tfidf", 5, 1.0, 1), ("knn", 5, 1.0, 1)], partial=False)
    for row in board.rows:
        row.trainable_parameters = 0 if row.floor else 10
    board.summarize(predictions)
    assert board.recommended.method == "knn"


def test_a_floor_that_is_not_beaten_is_recommended_and_the_verdict_says_so():
    board, predictions = run([("majority", 5, 0.8, 0), ("tfidf", 5, 0.8, 0.2), ("lora", 5, 0.8, 30)])
    board.summarize(predictions)
    assert (board.recommended.method, board.recommended.floor) == ("tfidf", True)
    assert board.verdict.startswith("So far: ")
    assert "The pretrained model does not help here: tfidf" in board.verdict


def test_models_compete_on_one_board():
    board, predictions = run([("knn", 5, 0.6, 1, "small"), ("knn", 5, 0.9, 2, "large")])
    board.summarize(predictions)
    assert [entry.p_holm < 0.05 for entry in board.summary] == [False, True]
    assert board.recommended.model == "large"
    assert "knn on large" in board.verdict


def test_failed_trials_do_not_count():
    board, predictions = run([("knn", 5, 0.8, 1), ("lora", 5, 0.99, 0.1), ("knn", 16, 0.8, 1)])
    failed = {"status": "failed", "reason": "loss became NaN"}
    board.rows = [r.model_copy(update=failed) if r.method == "lora" or r.shots == 16 else r for r in board.rows]
    board.summarize(predictions)
    assert [(entry.method, entry.shots) for entry in board.summary] == [("knn", 5)]
    assert board.recommended.shots == 5
    assert "knn is the only method to judge" in board.verdict


def test_board_without_results_is_still_a_board(tmp_path):
    board = Board()
    board.summarize(Predictions.empty())
    board.write(tmp_path)
    assert Board.read(tmp_path).verdict is None


def test_macro_f1_board_keeps_its_accuracy():
    board, predictions = run([("knn", 5, 0.8, 1)], metric="macro_f1")
    board.summarize(predictions)
    assert board.recommended.mean != board.recommended.accuracy
    assert "% macro F1" in board.verdict


def test_full_disk_leaves_the_old_board(tmp_path, monkeypatch):
    Board(run={"n": 1}).write(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        Board(run={"n": 2}).write(tmp_path)
    assert Board.read(tmp_path).run == {"n": 1}


@pytest.mark.parametrize("content", ["{", '{"rows": [{"method": 1}]}', "[]"])
def test_a_file_that_is_no_board_gives_one_line(tmp_path, content):
    (tmp_path / "board.json").write_text(content)
    with pytest.raises(DataError, match="board.json: not a board: ") as caught:
        Board.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_board_gives_one_line(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        Board.read(tmp_path)
