import copy

import numpy as np
import pytest
import torch

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.engine.forgetting import neighbour_forgetting
from warmstart.ingredients import build


@pytest.fixture
def data(make_images):
    rows = make_images(np.arange(60) % 4, tuple("abcd"))
    return Splits(train=rows, test=rows)


def test_neighbour_forgetting_equals_a_hand_example():
    before = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    swapped = before[[0, 2, 1, 3]]
    assert neighbour_forgetting(before, before, k=1) == 0.0
    assert neighbour_forgetting(before, 3 * before, k=1) == 0.0
    assert neighbour_forgetting(before, swapped, k=1) == 1.0
    assert neighbour_forgetting(before, swapped, k=3) == 0.0


def test_nothing_is_forgotten_by_the_start_model_itself(model, data):
    report = build("probes", "forgetting").measure(Cast(model, start=copy.deepcopy(model)), data)
    assert report == {"neighbours": 0.0}


def test_a_rotation_of_the_features_forgets_nothing(model, data):
    after = copy.deepcopy(model)
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q
    with torch.no_grad():
        after.backbone.map.weight.copy_(rotation @ after.backbone.map.weight)
    report = build("probes", "forgetting").measure(Cast(after, start=model), data)
    assert report["neighbours"] < 0.02


def test_other_weights_forget_nearly_all(model, data):
    after = copy.deepcopy(model)
    with torch.no_grad():
        after.backbone.map.weight.normal_()
    report = build("probes", {"forgetting": {"k": 3}}).measure(Cast(after, start=model), data)
    assert report["neighbours"] > 0.3


def test_the_objective_is_measured_before_and_after(model, data):
    for head in (model.attach("head", "linear", width=16, outputs=4),):
        torch.nn.init.zeros_(head.weight)
    after = copy.deepcopy(model)
    with torch.no_grad():
        after.attached["head"].bias[0] += 5.0
    probe = build("probes", {"forgetting": {"objective": "cross_entropy", "before": "old"}})
    assert probe.members() == ("old",)
    report = probe.measure(Cast(after, old=model), data)
    assert report["loss_before"] == pytest.approx(np.log(4), abs=1e-5)
    expected = np.log(np.exp(5) + 3) - 5 / 4
    assert report["loss_after"] == pytest.approx(expected, abs=1e-4)
    assert report["loss_increase"] == pytest.approx(expected - np.log(4), abs=1e-4)


def test_a_head_that_was_lost_is_named(model, data):
    probe = build("probes", {"forgetting": {"objective": "cross_entropy"}})
    with pytest.raises(ValueError, match="cross_entropy needs head, which this model no longer has"):
        probe.measure(Cast(model, start=copy.deepcopy(model)), data)
