"""Rows as batches."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import SENTENCES, tiny_rows

from warmstart.data.dataset import Dataset
from warmstart.engine.rows import Rows
from warmstart.models import ModelError
from warmstart.models.tower import CACHED_DEPTH, CACHED_STATE


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))


def test_a_batch_names_its_rows_labels_and_inputs(tiny):
    batch = Rows(tiny("bert"), tiny_rows("text")).batch(np.array([5, 0, 6]))
    assert batch["modality"] == "text"
    assert batch["rows"].tolist() == [5, 0, 6]
    assert batch["label"].tolist() == [1, 0, 0]
    assert batch["text"]["input_ids"].shape == (3, 7)
    assert batch["text"]["attention_mask"].sum(1).tolist() == [len(SENTENCES[i].split()) for i in (5, 0, 6)]
    assert (batch["text"]["input_ids"][2, 1:] == 0).all()
    assert "weight" not in batch


def test_ids_are_those_of_the_tokenizer(tiny):
    model = tiny("bert")
    rows = Rows(model, tiny_rows("text"))
    tokenizer = rows.inputs["text"]._tokenizer
    ids = rows.batch(np.arange(8))["text"]["input_ids"]
    for row, text in enumerate(SENTENCES):
        expected = tokenizer(text)["input_ids"]
        assert ids[row, : len(expected)].tolist() == expected


def test_rows_without_tokens_are_padding_alone(tiny):
    rows = Rows(tiny("bert"), Dataset(pa.table({"text": ["cat", "", ""]}), {"text": "text"}))
    assert rows.lengths.tolist() == [1, 0, 0]
    batch = rows.batch([2, 1])["text"]
    assert batch["input_ids"].tolist() == [[0], [0]]
    assert batch["attention_mask"].sum() == 0


def test_weights_are_as_given_and_labels_absent_where_there_are_none(tiny):
    table = pa.table({"text": SENTENCES, "weight": np.linspace(0, 1, 8)})
    batch = Rows(tiny("bert"), Dataset(table, {"text": "text", "weight": "weight"})).batch([0, 7])
    assert batch["weight"].tolist() == [0.0, 1.0]
    assert batch["weight"].dtype == torch.float32
    assert "label" not in batch


def test_several_columns_of_one_type_stand_under_their_names(tiny):
    table = pa.table({"text": SENTENCES, "answer": SENTENCES[::-1]})
    rows = Rows(tiny("bert"), Dataset(table, {"text": "text", "answer": "text"}))
    batch = rows.batch([0])
    assert rows.keys == {"text": "text", "answer": "answer"}
    assert batch["answer"]["input_ids"].tolist() != batch["text"]["input_ids"].tolist()


def test_pixels_are_normalised(tiny):
    rows = tiny_rows("image")
    batch = Rows(tiny("vit"), rows).batch([0, 1])["image"]["pixel_values"]
    assert batch.shape == (2, 3, 16, 16)
    assert batch.min() >= -1
    assert batch.max() <= 1
    assert abs(batch.mean()) < 0.2


def test_a_model_for_another_modality_is_named(tiny):
    with pytest.raises(ModelError, match="reads text, not image"):
        Rows(tiny("bert"), tiny_rows("image"))


def test_cached_states_are_part_of_the_batch(tiny):
    rows = Rows(tiny("bert"), tiny_rows("text"))
    rows.resume_from(0)
    assert CACHED_STATE not in rows.batch([0])["text"]
    rows.resume_from(2, "no")
    batch = rows.batch([1, 5])["text"]
    assert batch[CACHED_DEPTH] == 2
    assert batch[CACHED_STATE].shape == (*batch["input_ids"].shape, 16)
