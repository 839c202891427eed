"""The attached head's accuracy on either column of the same rows."""

import pyarrow as pa
import pytest
import torch
from tiny_builds import tiny_build

from warmstart.data.dataset import DataError, Dataset, Splits
from warmstart.engine.cast import Cast
from warmstart.engine.readout import class_scores
from warmstart.probes.cross_lingual_transfer import CrossLingualTransfer

FIRST = ["a red circle", "a blue square", "the red square", "a blue circle", "a red star", "a blue star"]
SECOND = ["the star", "a circle", "a square", "the square", "the circle", "a star"]


def rows(**texts):
    columns = {**texts, "label": pa.array([0, 1, 0, -1, 1, 0], pa.int64())}
    roles = {**dict.fromkeys(texts, "text"), "label": "label"}
    return Dataset(pa.table(columns), roles, ("no", "yes"), "tiny")


@pytest.mark.faithful("lt-sft")
def test_equals_accuracy_on_data_of_that_text_alone():
    model = tiny_build("text_encoder")
    torch.manual_seed(0)
    model.attach("head", "linear", width=model.tower().module.config.hidden_size, outputs=2)
    torch.nn.init.normal_(model.attached["head"].weight)
    data = rows(text=FIRST, text_de=SECOND)
    report = CrossLingualTransfer("text_de").measure(Cast(model), Splits(data, data))
    for name, texts in (("source", FIRST), ("target", SECOND)):
        alone = rows(text=texts).take([0, 1, 2, 4, 5])
        right = (class_scores(model, alone).argmax(1).numpy() == alone.labels).astype(float)
        assert report["examples"][name] == right.tolist()
        assert report[name] == pytest.approx(right.mean())
    assert report["gap"] == pytest.approx(report["source"] - report["target"])


def test_an_unknown_language_is_one_line():
    data = rows(text=FIRST, text_de=SECOND)
    with pytest.raises(DataError, match="no text column 'text_fr'; it has: text, text_de"):
        CrossLingualTransfer("text_fr").measure(Cast(tiny_build("text_encoder")), Splits(data, data))
