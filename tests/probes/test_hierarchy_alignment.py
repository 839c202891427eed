import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from warmstart.data.dataset import DataError, Dataset, Splits
from warmstart.engine.cast import Cast
from warmstart.ingredients import build
from warmstart.models import load_model


class Levels(nn.Module):
    """Features of an image whose first pixel holds family, shape and colour: one-hot of each, weighted."""

    image_size = 8

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, pixels):
        values = ((pixels[:, :, 0, 0] * 0.5 + 0.5) * 255).round().long()
        return torch.cat([w * nn.functional.one_hot(v, 9) for w, v in zip(self.weights, values.T, strict=True)], 1)


def scenes(count=240):
    generator = np.random.default_rng(0)
    family, shape, colour = generator.integers(0, 3, (3, count))
    shape = shape + 3 * family
    pixels = np.zeros((count, 8, 8, 3), np.uint8)
    pixels[:, 0, 0] = np.stack([family, shape, colour], 1)
    pixels[:, 7, 7, 0] = np.arange(count)
    columns = {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)}
    columns |= {"family": family, "shape": shape, "colour": colour}
    return Dataset(pa.table(columns), {"image": "image"} | dict.fromkeys(("family", "shape", "colour"), "number"))


def measure(weights, **arguments):
    data = scenes()
    probe = build("probes", {"hierarchy_alignment": {"triplets": 60} | arguments})
    return probe.measure(Cast(load_model(Levels(weights))), Splits(train=data, test=data))


@pytest.mark.faithful("alignet")
def test_features_that_follow_the_tree_agree_at_every_level():
    report = measure([4.0, 2.0, 1.0])
    assert [report[name] for name in ("family", "shape", "colour", "mean")] == [1.0] * 4
    assert {name: len(values) for name, values in report["examples"].items()} == dict.fromkeys(
        ("family", "shape", "colour"), 60
    )


@pytest.mark.faithful("alignet")
def test_features_of_colour_alone_agree_at_the_finest_level_only():
    report = measure([0.0, 0.0, 1.0])
    assert report["colour"] == 1.0
    assert report["family"] < 0.6
    assert report["shape"] < 0.6


def test_faults_are_named():
    with pytest.raises(DataError, match="no column 'kingdom'"):
        measure([1.0, 1.0, 1.0], levels=["kingdom"])
    with pytest.raises(ValueError, match="names at least one role"):
        measure([1.0, 1.0, 1.0], levels=[])
