"""The loss as it is, and with the smallest entries of all matrices at zero."""

import numpy as np
import pytest
import torch

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.probes.pruning_loss import PruningLoss, prune


@pytest.fixture
def setting(model, make_images):
    data = make_images([0, 1, 0, 1], ("a", "b"))
    model.attach("head", "linear", width=16, outputs=2)
    torch.nn.init.normal_(model.attached["head"].weight)
    return model, Splits(data, data)


def loss(model, data) -> float:
    with torch.no_grad():
        terms = CrossEntropy().loss(Cast(model), Rows(model, data).batch(np.arange(4)), Step())
    return terms["cross_entropy"].mean().item()


@pytest.mark.faithful("sara")
def test_zeroes_the_smallest_share_of_the_matrices_and_compares(setting):
    model, splits = setting
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    report = PruningLoss(CrossEntropy(), share=0.4).measure(Cast(model), splits)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert report["loss"] == pytest.approx(loss(model, splits.test), rel=1e-5)
    weight = model.backbone.map.weight
    limit = weight.abs().flatten().sort().values[round(0.4 * weight.numel()) - 1]
    with torch.no_grad():
        weight[weight.abs() <= limit] = 0
    assert report["pruned"] == pytest.approx(loss(model, splits.test), rel=1e-5)
    assert report["change"] == pytest.approx(abs(report["pruned"] / report["loss"] - 1))
    assert np.mean(report["examples"]["pruned"]) == pytest.approx(report["pruned"])


def test_prunes_what_is_asked_for(model):
    prune(model, 0.25)
    assert (model.backbone.map.weight == 0).float().mean().item() == pytest.approx(0.25, abs=1e-3)


def test_without_a_share_it_is_the_loss_alone(setting):
    model, splits = setting
    report = PruningLoss(CrossEntropy(), share=0.0, draws=2).measure(Cast(model), splits)
    assert set(report) == {"loss", "examples"}
    assert report["loss"] == pytest.approx(loss(model, splits.test), rel=1e-5)


def test_rows_that_are_not_there_are_one_line(setting):
    model, splits = setting
    with pytest.raises(LookupError, match="no val rows"):
        PruningLoss(CrossEntropy(), rows="val").measure(Cast(model), splits)
    with pytest.raises(ValueError, match="rows is one of"):
        PruningLoss(CrossEntropy(), rows="old")
