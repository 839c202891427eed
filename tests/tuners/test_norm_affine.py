import torch

from warmstart.models import count, load_model
from warmstart.tuners.norm_affine import NormAffine


def trains(model) -> set[str]:
    NormAffine().apply(model)
    return {name for name, _ in model.trainable()}


def test_layer_norms_train_in_scale_and_shift(tiny):
    model = tiny("bert")
    names = trains(model)
    assert all("LayerNorm" in name for name in names)
    assert count([p for _, p in model.trainable()]) == (1 + 2 * 3) * 2 * 16


def test_batch_norms_train(tiny):
    model = tiny("mobilenet")
    trains(model)
    norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert count([p for _, p in model.trainable()]) == sum(2 * norm.num_features for norm in norms) > 0


def test_rms_norms_that_an_architecture_defines_train(tiny):
    model = tiny("llama")
    assert len(trains(model)) == 2 * 3 + 1


def test_says_why_it_does_not_fit():
    assert "norm" in NormAffine.unfit(load_model(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))))
