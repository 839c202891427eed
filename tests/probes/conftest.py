import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from warmstart.data.dataset import Dataset, Splits
from warmstart.engine.cast import Cast
from warmstart.models import load_model


class Pixels(nn.Module):
    """Features are a linear map of an 8 x 8 image."""

    image_size = 8

    def __init__(self, width=16):
        super().__init__()
        self.map = nn.Linear(192, width, bias=False)

    def forward(self, pixels):
        return self.map(pixels.flatten(1))


class Table:
    """A fitted predictor whose scores were written down."""

    def __init__(self, scores):
        self.table = scores

    def scores(self, queries):
        return self.table[: len(queries)]


def images(labels, classes, seed=0, **columns):
    """Noise images with a bright row for their class."""
    pixels = np.random.default_rng(seed).integers(0, 100, (len(labels), 8, 8), dtype=np.uint8)
    pixels[np.arange(len(labels)), np.asarray(labels) % 8] = 255
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    table = pa.table({"image": tensor, "label": pa.array(np.asarray(labels), pa.int64()), **columns})
    roles = {"image": "image", "label": "label"} | {name: "group" for name in columns}
    return Dataset(table, roles, classes, "noise")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return load_model(Pixels())


@pytest.fixture
def make_images():
    return images


@pytest.fixture
def answering(model):
    """What `measure` takes, for a predictor that gives these scores to rows with these labels."""

    def answer(scores, labels, **columns):
        classes = tuple("abcdefgh"[: scores.shape[1]])
        rows = images(labels.tolist(), classes, **columns)
        return Cast(model), Splits(train=rows, test=rows), Table(scores)

    return answer
