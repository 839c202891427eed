import copy

import pytest
import torch
from tiny_models import tiny, tiny_rows  # noqa: F401

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.models import fingerprint
from warmstart.probes.tuner_exactness import TunerExactness
from warmstart.tuners.lora import Lora
from warmstart.tuners.scale_shift import ScaleShift
from warmstart.tuners.side_network import SideNetwork

ROWS = Splits(train=tiny_rows("image"), test=tiny_rows("image"))


def test_finds_nothing_where_a_tuner_is_exact(tiny):  # noqa: F811
    start = tiny("vit")
    model, tuner = copy.deepcopy(start), ScaleShift()
    tuner.apply(model)
    for name, parameter in model.trainable():
        if name.endswith(".scale"):
            parameter.data.add_(0.1)
    states = fingerprint(model), fingerprint(start)
    found = TunerExactness(tuner).measure(Cast(model, start=start), ROWS)
    assert found["start"] == found["start_weights"] == 0
    assert found["fold"] < 1e-5
    assert (fingerprint(model), fingerprint(start)) == states
    layers = 2 * (5 * 16 + 24 + 2 * 16) * 3 + 2 * 16 + 2 * 16
    total = sum(p.numel() for _, p in start.tower().named_parameters())
    assert found["share"] == pytest.approx(layers / total)


def test_finds_a_start_that_is_not_the_pretrained_model(tiny):  # noqa: F811
    start = tiny("vit")
    model, tuner = copy.deepcopy(start), ScaleShift(noise=0.1)
    tuner.apply(model)
    found = TunerExactness(tuner).measure(Cast(model, start=start), ROWS)
    assert found["start"] > 1e-3
    assert found["start_weights"] > 1e-2


def test_finds_a_fold_that_loses_something(tiny):  # noqa: F811
    class Lossy(Lora):
        def fold(self, model):
            super().fold(model)
            with torch.no_grad():
                model.backbone.layernorm.weight.mul_(1.1)

    start = tiny("vit")
    model, tuner = copy.deepcopy(start), Lossy()
    tuner.apply(model)
    assert TunerExactness(tuner).measure(Cast(model, start=start), ROWS)["fold"] > 1e-2


def test_refuses_a_tuner_without_plain_weights():
    with pytest.raises(ValueError, match="fold"):
        TunerExactness(SideNetwork())
