import numpy as np
import pyarrow.parquet as pq
import pytest

from warmstart.compare.predictions import SCHEMA, Predictions
from warmstart.data.dataset import DataError


def trial(method, seed, predictions, shots=5, split="test", labels=(0, 1, 2), **options):
    confidence = np.full(len(predictions), 0.5)
    return Predictions.of(
        method,
        options.pop("model", "m"),
        shots,
        seed,
        split,
        np.array(labels),
        np.array(predictions),
        confidence,
        **options,
    )


def test_a_trial_keeps_all_its_splits_in_one_file_and_replaces_what_it_said_before(tmp_path):
    Predictions.append(tmp_path, "a", [trial("a", 0, [2, 2, 2])])
    parts = [trial("a", 0, [0, 1, 2]), trial("a", 0, [1], split="shifted", labels=[1])]
    path = Predictions.append(tmp_path, "a", parts)
    table = Predictions.read(path).table
    assert table.schema.equals(SCHEMA)
    assert pq.read_table(path).equals(table)
    assert table["split"].to_pylist() == ["test"] * 3 + ["shifted"]
    assert table["prediction"].to_pylist() == [0, 1, 2, 1]
    assert table["shots"].to_pylist() == ["5"] * 4
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_model_with_a_slash_stays_in_the_folder_of_trials(tmp_path):
    path = Predictions.append(tmp_path, "knn-zoo/vit-../x", [trial("knn", 0, [0, 1, 2], model="zoo/vit")])
    assert path.parent == tmp_path / "trials"
    assert Predictions.read(path).cell(5).arms == (("knn", "zoo/vit"),)


def test_no_predictions_at_all_are_an_empty_table(tmp_path):
    path = Predictions.join([]).write(tmp_path / "predictions.parquet")
    assert Predictions.read(path).table.num_rows == 0
    assert Predictions.read(path).cell(5).arms == ()


def test_cell_is_a_cube_with_gaps_marked():
    parts = [
        trial("b", 0, [0, 1, 2]),
        trial("a", 1, [0, 0, 2]),
        trial("b", 1, [1, 1, 1]),
        trial("b", 1, [0, 0, 0], shots="all"),
        trial("b", 1, [2], split="shifted", labels=[2]),
        trial("a", 0, [0], model="n", labels=[0]),
    ]
    cell = Predictions.join(parts).cell(5)
    assert cell.arms == (("a", "m"), ("b", "m"), ("a", "n"))
    assert cell.seeds == (0, 1)
    assert cell.labels.tolist() == [0, 1, 2]
    assert cell.present.tolist() == [
        [False, True],
        [True, True],
        [False, False],
    ]  # a on n answered one of three
    assert cell.predictions[1].tolist() == [[0, 1, 2], [1, 1, 1]]
    np.testing.assert_array_equal(cell.correct[0], [[np.nan] * 3, [1, 0, 1]])
    assert Predictions.join(parts).cell(5, model="n").arms == (("a", "n"),)
    assert Predictions.join(parts).cell("all").predictions.tolist() == [[[0, 0, 0]]]


def test_rows_are_matched_by_index_not_by_position():
    forward = trial("a", 0, [5, 6, 7])
    backward = trial("b", 0, [7, 6, 5], labels=(2, 1, 0), rows=np.array([2, 1, 0]))
    cell = Predictions.join([forward, backward]).cell(5)
    assert (cell.predictions[0] == cell.predictions[1]).all()


def test_predictions_of_different_data_are_refused():
    with pytest.raises(DataError, match="disagree about the labels"):
        Predictions.join([trial("a", 0, [0, 1, 2]), trial("b", 0, [0, 1, 2], labels=(2, 1, 0))]).cell(5)


def test_a_file_that_is_no_table_of_predictions_gives_one_line(tmp_path):
    (tmp_path / "predictions.parquet").write_bytes(b"half a file")
    with pytest.raises(DataError, match="not a table of predictions") as caught:
        Predictions.read(tmp_path / "predictions.parquet")
    assert "\n" not in str(caught.value)
