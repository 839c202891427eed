"""Data without labels: what is read, and what is set apart for testing."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warmstart.data import DataError, load_data


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_list_of_texts_is_a_row_each(tmp_path):
    rows = [{"text": ["one", "two"], "split": "train"}, {"text": ["three"], "split": "test"}]
    splits = load_data(write(tmp_path / "a.jsonl", rows), labelled=False, text="text")
    assert splits.train.texts() == ["one", "two"]
    assert splits.test.texts() == ["three"]
    assert splits.train.roles == {"text": "text"}
    assert str(splits.train.place(1)).startswith(f"{tmp_path / 'a.jsonl'} row 1")


def test_test_rows_are_drawn_by_the_seed_and_captions_of_one_row_stay_together(tmp_path):
    file = write(tmp_path / "a.jsonl", [{"text": [f"{i} a", f"{i} b"]} for i in range(10)])
    splits, again, other = (load_data(file, labelled=False, text="text", seed=seed) for seed in (0, 0, 1))
    owners = [{text.split()[0] for text in part.texts()} for part in (splits.train, splits.test)]
    assert not owners[0] & owners[1]
    assert len(splits.test) == 4
    assert splits.test.texts() == again.test.texts() != other.test.texts()


def test_whole_groups_or_the_latest_rows_are_set_apart(tmp_path):
    rows = [{"text": str(i), "who": str(i // 5), "day": f"2020-01-{i + 1:02d}"} for i in range(20)]
    file = write(tmp_path / "a.jsonl", rows)
    grouped = load_data(file, labelled=False, group="who", test_share=0.25)
    assert len({int(text) // 5 for text in grouped.test.texts()}) == 1
    assert len(grouped.test) == 5
    latest = load_data(file, labelled=False, time="day")
    assert latest.test.texts() == ["16", "17", "18", "19"]


def test_a_column_of_labels_is_not_read(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": ["x", None, "y"]}), tmp_path / "a.parquet")
    splits = load_data(tmp_path / "a.parquet", labelled=False)
    assert len(splits.train) + len(splits.test) == 3
    assert "label" not in splits.train.roles


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        ([{"text": "alone"}], {}, "one row only"),
        ([{"text": "a", "day": "soon"}, {"text": "b", "day": "1"}], {"time": "day"}, "no ISO date"),
        ([{"words": "a"}, {"words": "b"}], {}, "no text or image column"),
    ],
)
def test_bad_rows_are_one_line(tmp_path, rows, arguments, said):
    with pytest.raises(DataError, match=said):
        load_data(write(tmp_path / "a.jsonl", rows), labelled=False, **arguments)


def test_photos_with_five_captions_each(shared):
    source = shared("data/flickr8k_1000")
    splits = load_data(source, labelled=False, image="image", text="captions")
    assert (len(splits.train), len(splits.test)) == (4000, 1000)
    assert splits.train.roles == {"image": "image", "text": "text"}
    assert len(np.unique(splits.train.row_keys("image"))) == 800
