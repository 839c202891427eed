"""A row is right where greedy decoding writes its answer, to the end token."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from warmstart.data.dataset import DataError, Dataset, Splits
from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.loop import train
from warmstart.engine.rows import Rows
from warmstart.models.builders import build_model
from warmstart.objectives.causal_lm import CausalLm
from warmstart.probes.answer_accuracy import AnswerAccuracy
from warmstart.tuners.full import Full

SMALL = {"tokenizer": "words:a b c d x y", "width": 16, "heads": 2, "depth": 1}
ASKED, TOLD = ["a b", "b a c", "d", "c c"], ["x y", "y", "x x", "y x x"]


def rows(told) -> Dataset:
    table = pa.table({"text": ASKED, "answer": list(told), "kind": [0, 1, 0, 1]})
    return Dataset(table, {"text": "text", "answer": "text", "kind": "number"})


@pytest.fixture(scope="module")
def memorised():
    torch.manual_seed(0)
    cast = Cast(build_model({"transformer_lm": SMALL}))
    settings = Settings(steps=80, batch_size=4, learning_rate=1e-2, precision="no")
    data = Rows(cast.model, rows(TOLD))
    train(Learner(cast, [(CausalLm("answer", "text"), 1.0)], Full(), data, settings))
    return cast


def measured(cast, told=TOLD, **arguments) -> dict:
    return AnswerAccuracy(**arguments).measure(cast, Splits(rows(told), rows(told)))


def test_memorised_answers_are_right(memorised):
    found = measured(memorised)
    assert found["accuracy"] == 1.0
    assert found["examples"]["accuracy"] == [1.0] * 4


def test_a_row_is_wrong_where_one_token_differs_or_it_ends_elsewhere(memorised):
    found = measured(memorised, ["x x", "y", "x", "y x x"], by="kind")
    assert found["examples"]["accuracy"] == [0.0, 1.0, 0.0, 1.0]
    assert (found["accuracy"], found["kind_0"], found["kind_1"]) == (0.5, 0.0, 1.0)


def test_right_is_what_greedy_decoding_writes(memorised):
    model = memorised.model
    batch = Rows(model, rows(TOLD)).batch(np.arange(4))
    written = [[] for _ in range(4)]
    state = model.language.start(batch)
    for _ in range(4):
        best = state.scores.argmax(-1)
        for row, token in zip(written, best.tolist(), strict=True):
            row.append(token)
        model.language.advance(state, best)
    ids = model.tokens.encode(TOLD)
    assert [row[: len(one)] for row, one in zip(written, ids, strict=True)] == [list(one) for one in ids]


def test_names_what_is_not_there(memorised):
    with pytest.raises(DataError, match="no column 'topic'"):
        measured(memorised, by="topic")
    with pytest.raises(DataError, match="no text column 'reply'"):
        measured(memorised, role="reply")
    with pytest.raises(LookupError, match="no shifted rows"):
        measured(memorised, rows="shifted")
