"""Triplets from clusters or at random, judged by a tree or by features."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from warmstart.data.dataset import DataError, Dataset
from warmstart.engine.cast import Cast
from warmstart.ingredients import build
from warmstart.models import load_model


class Corner(nn.Module):
    """Features are the first pixel's three channels."""

    image_size = 8

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        return self.scale * pixels[:, :, 0, 0]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path))
    monkeypatch.setattr("warmstart.engine.features.best_precision", lambda: "no")


def rows(count=30):
    """Three kinds of images, each of one colour; `number` says which row it is."""
    kind = np.arange(count) % 3
    pixels = np.full((count, 8, 8, 3), 60, np.uint8)
    pixels[np.arange(count), :, :, kind] = 255
    pixels[:, 7, 7, 0] = np.arange(count)
    table = pa.table(
        {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels), "kind": kind, "half": np.arange(count) % 2}
    )
    return Dataset(table, {"image": "image", "kind": "number", "half": "number"}, name="colours")


def mined(data=None, seed=0, **arguments):
    return build("curators", {"mine_triplets": arguments}).curate(data or rows(), Cast(load_model(Corner())), seed)


def numbers(found):
    """(M, 3) which rows stand in the triplets."""
    names = ("image", "image_2", "image_3")
    return np.stack([found.table[n].combine_chunks().to_numpy_ndarray()[:, 7, 7, 0] for n in names], 1).astype(int)


def judgments(found):
    return found.table["judgment"].combine_chunks().to_numpy_ndarray()


@pytest.mark.faithful("alignet")
def test_two_of_one_cluster_and_one_of_another():
    found = mined(count=40, clusters=3)
    drawn = numbers(found)
    assert len(found) == 40
    assert (drawn[:, 0] != drawn[:, 1]).all()
    kinds = drawn % 3
    assert (kinds[:, 0] == kinds[:, 1]).all()
    assert (kinds[:, 0] != kinds[:, 2]).all()
    assert (judgments(found)[:, 2] > 0.9).all()


def test_a_share_is_of_one_cluster():
    kinds = numbers(mined(count=200, clusters=3, within=0.5)) % 3
    inside = (kinds == kinds[:, :1]).all(1).mean()
    assert 0.35 < inside < 0.65


@pytest.mark.faithful("alignet")
def test_a_tree_judges_by_the_levels_that_are_shared():
    found = mined(count=60, source="uniform", tree=["kind", "half"])
    for (a, b, c), judged in zip(numbers(found), judgments(found), strict=True):
        shared = [0 if x % 3 != y % 3 else 1 + (x % 2 == y % 2) for x, y in ((b, c), (a, c), (a, b))]
        best = np.array(shared) == max(shared)
        np.testing.assert_allclose(judged, best / best.sum())


def test_noise_answers_at_random():
    plain = mined(count=600, source="uniform", tree=["kind"])
    noisy = mined(count=600, source="uniform", tree=["kind"], noise=0.6)
    assert np.array_equal(numbers(plain), numbers(noisy))
    assert set(np.unique(judgments(mined(count=50, source="uniform", tree=["kind"], noise=1.0)))) == {0, 1}
    changed = (judgments(plain) != judgments(noisy)).any(1).mean()
    assert 0.3 < changed < 0.65


def test_the_model_judges_by_cosines():
    found = mined(count=20, source="uniform", temperature=0.5)
    pixels = rows().table["image"].combine_chunks().to_numpy_ndarray()[:, 0, 0].astype(np.float64)
    features = (pixels / 255 - 0.5) / 0.5
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    a, b, c = (unit[numbers(found)[:, k]] for k in range(3))
    scores = np.exp(np.stack([(b * c).sum(1), (a * c).sum(1), (a * b).sum(1)], 1) / 0.5)
    np.testing.assert_allclose(judgments(found), scores / scores.sum(1, keepdims=True), rtol=1e-4)


def test_draws_depend_on_the_seed_alone():
    assert np.array_equal(numbers(mined(count=9, clusters=3)), numbers(mined(count=9, clusters=3)))
    assert not np.array_equal(numbers(mined(count=9, clusters=3)), numbers(mined(count=9, clusters=3, seed=1)))


def test_faults_are_named():
    with pytest.raises(DataError, match="no column 'shape' of the hierarchy"):
        mined(source="uniform", tree=["shape"])
    with pytest.raises(ValueError, match="40 clusters of 30 rows"):
        mined(clusters=40)
    with pytest.raises(ValueError, match="needs 3 rows"):
        mined(rows(2))
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        mined(noise=2.0)
