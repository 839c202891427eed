"""What modules know of the batch that a model reads, wherever it enters."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import tiny_rows
from torch import nn

from warmstart.data.dataset import DataError, Dataset
from warmstart.engine.cast import Cast
from warmstart.engine.features import Encoder
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.models import ModelError
from warmstart.models.reading import Routed, column, columns_read, masked, reading, take_gates
from warmstart.models.wrapped import Wrapped
from warmstart.objectives.cross_entropy import CrossEntropy


class Scaled(Wrapped):
    """What the layer gives, times the row's task and 1."""

    reads = ("task",)

    def forward(self, x):
        return self.base_layer(x) * (1 + column("task", len(x)).view(-1, 1, 1))


class Halves(Routed):
    def forward(self, x):
        self.keep(torch.full((*x.shape[:-1], 2), 0.5) * x.new_ones(1).requires_grad_())
        return self.base_layer(x)


def rows(tasks=(0, 1, 2, 3, 0, 1, 2, 3), modality="image") -> Dataset:
    plain = tiny_rows(modality)
    return Dataset(
        plain.table.append_column("task", pa.array(tasks, pa.int64())),
        {**plain.roles, "task": "number"},
        plain.classes,
        "tiny",
    )


def wrapped(model, kind=Scaled):
    part = model.tower().parts("block.0.ffn.out")[0]
    model.tower().module.set_submodule(part.path, kind(part.module))
    return model.eval()


@torch.no_grad()
def test_encode_shows_the_columns_of_its_batch(tiny):
    model = wrapped(tiny("vit"))
    first, second = (Rows(model, rows(tasks)).batch(np.arange(8)) for tasks in ([0] * 8, [0] * 4 + [1] * 4))
    same = model.encode(first).pooled[:4], model.encode(second).pooled[:4]
    torch.testing.assert_close(*same)
    assert not torch.allclose(model.encode(first).pooled[4:], model.encode(second).pooled[4:])


def test_the_loss_shows_every_part_of_a_batch_its_own_rows(tiny):
    model = wrapped(tiny("vit"))
    data = Rows(model, rows())
    settings = Settings(batch_size=8, accumulate=3, precision="no")
    learner = Learner(Cast(model), [(CrossEntropy(), 1.0)], None, data, settings)
    assert learner.advance(Step())["cross_entropy"] > 0


def test_language_shows_them_while_reading_and_while_writing(tiny):
    model = wrapped(tiny("gpt2"))
    model.backbone.get_output_embeddings = lambda: None
    model.backbone.config.tie_word_embeddings = True
    batch = Rows(model, rows(modality="text")).batch(np.arange(4))
    ids = torch.full((4, 2), 5)
    with torch.no_grad():
        expected = model.language.target_scores(batch, ids)
        state = model.language.start(batch)
        torch.testing.assert_close(state.scores, expected[:, 0], rtol=1e-4, atol=1e-4)
        state = state.take(torch.tensor([2, 0]))
        found = model.language.advance(state, ids[:2, 0])
    torch.testing.assert_close(found, expected[[2, 0], 1], rtol=1e-4, atol=1e-4)


def test_says_which_column_is_missing_or_does_not_fit(tiny):
    model = wrapped(tiny("vit"))
    batch = Rows(model, tiny_rows("image")).batch(np.arange(4))
    with pytest.raises(ModelError, match="reads the column 'task'"):
        model.encode(batch)
    with pytest.raises(ModelError, match="of 3 rows, and was given 4"):
        model.encode({**batch, "task": torch.arange(3)})
    with reading({"task": torch.arange(4)}):
        assert column("task", 4).tolist() == [0, 1, 2, 3]
    assert columns_read(model) == ("task",)


def test_cached_features_depend_on_what_the_model_reads_beside_its_inputs(tiny):
    model = wrapped(tiny("vit"))
    first, second = rows([0] * 8), rows([0] * 4 + [1] * 4)
    with torch.no_grad():
        expected = [model.encode(Rows(model, one).batch(np.arange(8))).pooled for one in (first, second)]
    for _ in range(2):
        for data, truth in zip((first, second), expected, strict=True):
            torch.testing.assert_close(
                Encoder(model, data, precision="no").features().pooled(), truth, rtol=1e-4, atol=1e-5
            )
    part = Encoder(model, second, precision="no").features(np.array([5, 1])).pooled()
    torch.testing.assert_close(part, expected[1][[5, 1]], rtol=1e-4, atol=1e-5)
    states = Encoder(model, second, depth=1, precision="no").features()
    assert not torch.allclose(
        states.padded(np.array([4])), Encoder(model, first, depth=1, precision="no").features().padded(np.array([4]))
    )
    with pytest.raises(DataError, match="no column 'task'"):
        Encoder(model, tiny_rows("image"))


def test_gates_are_taken_once_without_padding_and_belong_to_no_copy(tiny):
    model = wrapped(tiny("bert"), Halves)
    batch = Rows(model, tiny_rows("text")).batch(np.arange(8))
    assert take_gates(model) == {}
    model.encode(batch)
    copied = copy.deepcopy(model)
    gates = list(take_gates(model).values())
    assert len(gates) == 1
    real = batch["text"]["attention_mask"].sum(1)
    torch.testing.assert_close(gates[0].sum((1, 2)), real.float())
    assert gates[0].requires_grad
    assert take_gates(model) == take_gates(copied) == {}


def test_gates_of_rows_that_are_no_sequences_have_one_place():
    layer = Halves(nn.Linear(3, 3))
    with masked(torch.ones(4, 7)):
        layer(torch.randn(4, 3))
    assert layer.gates.shape == (4, 1, 2)
