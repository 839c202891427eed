"""Similarity of two models' views of the same rows, against numpy."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import tiny, tiny_rows  # noqa: F401

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.probes.layer_similarity import LayerSimilarity


@torch.no_grad()
def changed(model, block: int, size: float = 1.0):
    twin = copy.deepcopy(model)
    torch.manual_seed(3)
    for parameter in twin.tower().blocks[block].parameters():
        parameter.add_(size * torch.randn_like(parameter))
    return twin


def measured(before, after, modality="text"):
    rows = tiny_rows(modality)
    return LayerSimilarity("@start", rows=8).measure(Cast(after, start=before), Splits(rows, rows))


@torch.no_grad()
def by_numpy(before, after, block):
    rows = Rows(before, tiny_rows("text"))
    triangles = []
    for model in (before, after):
        batch = rows.batch(np.arange(8))
        states = model.eval().encode(batch, keep=[f"block.{block}"]).states[f"block.{block}"].double().numpy()
        mask = batch["text"]["attention_mask"].numpy()
        pooled = np.stack([state[real == 1].mean(0) for state, real in zip(states, mask, strict=True)])
        unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        triangles.append((unit @ unit.T)[np.triu_indices(8, 1)])
    return np.corrcoef(*triangles)[0, 1]


@pytest.mark.faithful("telly")
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_equals_pearson_of_the_upper_triangles(tiny, family):  # noqa: F811
    before = tiny(family)
    after = changed(before, 1)
    report = measured(before, after)
    assert report["similarity"] == pytest.approx([by_numpy(before, after, i) for i in range(3)], abs=1e-4)
    assert report["block.0"] == pytest.approx(1.0, abs=1e-6)
    assert report["block.1"] < 0.99


@pytest.mark.faithful("telly")
def test_summaries_say_where_it_falls(tiny):  # noqa: F811
    before = tiny("bert")
    report = measured(before, changed(changed(before, 1, 0.3), 2, 3.0))
    assert report["lowest"] == 1.0
    assert report["trend"] == pytest.approx(-1.0)
    assert report["bottom"] == report["block.0"]
    assert report["top"] == pytest.approx((report["block.1"] + report["block.2"]) / 2)


@pytest.mark.parametrize(("family", "modality"), [("vit", "image"), ("mobilenet", "image")])
def test_images_too(tiny, family, modality):  # noqa: F811
    model = tiny(family)
    report = measured(model, copy.deepcopy(model), modality)
    assert report["similarity"] == pytest.approx([1.0] * model.tower().depth)


def test_another_depth_is_one_line(tiny):  # noqa: F811
    deep, shallow = tiny("bert"), tiny("bert")
    shallow.backbone.encoder.layer = shallow.backbone.encoder.layer[:2]
    with pytest.raises(ValueError, match="@start has 3 blocks, the model has 2"):
        measured(deep, shallow)
