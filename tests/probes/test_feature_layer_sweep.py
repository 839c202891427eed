"""A property is found in the block that holds it."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import WORDS, tiny  # noqa: F401

from warmstart.data.dataset import DataError, Dataset, Splits
from warmstart.engine.cast import Cast
from warmstart.ingredients import build


def texts(count, seed):
    """Three words; the label is whether `cat` is among them, `first` is the first of the three."""
    rng = np.random.default_rng(seed)
    words = [list(rng.choice(WORDS[:6], 3, replace=False)) for _ in range(count)]
    columns = {
        "text": [" ".join(row) for row in words],
        "label": pa.array(["cat" in row for row in words]).cast(pa.int64()),
        "length": [len(row[0]) for row in words],
    }
    roles = {"text": "text", "label": "label", "length": "number"}
    return Dataset(pa.table(columns), roles, ("without", "with"), "cats")


@pytest.fixture
def data():
    return Splits(train=texts(200, 0), test=texts(100, 1))


def sweep(**arguments):
    return build("probes", {"feature_layer_sweep": arguments})


@pytest.mark.faithful("telly")
def test_reads_words_at_the_bottom_until_a_block_hides_them(tiny, data):  # noqa: F811
    model = tiny("bert")
    with torch.no_grad():
        for parameter in model.tower().blocks[2].output.LayerNorm.parameters():
            parameter.zero_()
    report = sweep(properties=["label", "token", "length"]).measure(Cast(model), data)
    for name in ("label", "token"):
        assert report[f"{name}.block.0"] > 0.9
        assert report[name] == [report[f"{name}.block.{i}"] for i in range(3)]
        assert report[f"{name}.best"] == max(report[name])
        assert report[f"{name}.where"] < 1
    # A block that returns the same for all rows answers with the commonest value.
    commonest = int(data.train.labels.mean() > 0.5)
    assert report["label.block.2"] == pytest.approx((data.test.labels == commonest).mean())
    assert report["token.block.2"] < 0.4
    assert len(report["length"]) == 3


def test_a_missing_column_is_named(tiny, data):  # noqa: F811
    with pytest.raises(DataError, match="no column 'colour' to read out; it has: text, label, length"):
        sweep(properties=["colour"]).measure(Cast(tiny("bert")), data)


def test_a_property_of_one_value_cannot_be_read(tiny, data):  # noqa: F811
    one = data.train.take(np.flatnonzero(data.train.labels == 0))
    with pytest.raises(ValueError, match="label has 1 values to tell apart"):
        sweep().measure(Cast(tiny("bert")), Splits(train=one, test=data.test))
