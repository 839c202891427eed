"""A map behind the pooling: what every reader of features sees, on a frozen and cached encoder."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.readout import encode_rows
from warmstart.engine.rows import Rows
from warmstart.models import load_model
from warmstart.models.tower import CACHED_STATE
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.tuners.feature_adapter import FeatureAdapter


@torch.no_grad()
def features(model):
    return model.eval().encode(Rows(model, tiny_rows(model.tower().modality)).batch(np.arange(8))).pooled


@torch.no_grad()
def drawn(model):
    """The same with random weights in the map."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if ".map." in name:
            parameter.normal_()
    return model


@pytest.mark.faithful("nmtune")
@pytest.mark.parametrize("residual", [False, True])
def test_mlp_is_the_formula(tiny, residual):
    model = tiny("vit")
    before = features(model)
    FeatureAdapter(hidden=5, residual=residual).apply(model)
    first, _, second = drawn(model).tower().project.map
    assert first.weight.shape == (5, before.shape[1])
    expected = torch.relu(before @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(features(model), expected + before if residual else expected)


@pytest.mark.faithful("alignet")
@pytest.mark.parametrize("family", ["bert", "clip", "mobilenet"])
def test_affine_map_starts_at_the_identity_and_maps_what_predictors_read(tiny, family):
    model = tiny(family)
    before = features(model)
    FeatureAdapter("affine").apply(model)
    assert torch.equal(features(model), before)
    layer = drawn(model).tower().project.map
    expected = before @ layer.weight.T + layer.bias
    torch.testing.assert_close(features(model), expected, rtol=1e-4, atol=1e-4)
    rows = tiny_rows(model.tower().modality)
    torch.testing.assert_close(encode_rows(model, rows).features, expected, rtol=1e-3, atol=1e-3)


def test_the_map_stands_before_a_normalization(tiny):
    model = tiny("bert")
    model.tower().normalize = True
    FeatureAdapter("affine").apply(model)
    torch.testing.assert_close(features(drawn(model)).norm(dim=1), torch.ones(8))


def test_only_the_map_and_the_head_train_on_states_that_are_computed_once(tiny):
    model = tiny("vit")
    rows = Rows(model, tiny_rows("image"))
    settings = Settings(steps=1, batch_size=4, precision="no")
    Learner(Cast(model), [(CrossEntropy(), 1.0)], FeatureAdapter(hidden=5), rows, settings)
    assert sum(p.numel() for _, p in model.trainable()) == (16 * 5 + 5) + (5 * 16 + 16) + (16 * 2 + 2)
    assert CACHED_STATE in rows.batch(np.arange(2))["image"]


def test_a_copy_has_a_map_of_its_own(tiny):
    model = tiny("bert")
    FeatureAdapter().apply(model)
    twin, before = copy.deepcopy(model), features(model)
    drawn(twin)
    torch.testing.assert_close(features(model), before)
    assert not torch.allclose(features(twin), before)


def test_says_where_it_has_no_place():
    model = load_model(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)))
    assert "forward of its own" in FeatureAdapter.unfit(model)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="form is `mlp` or `affine`"):
        FeatureAdapter("cubic")
    with pytest.raises(ValueError, match="hidden is 1 or more"):
        FeatureAdapter(hidden=0)
