"""Singular values train: the formula on every kind of layer, and what is saved."""

import pytest
import torch
from torch import nn

from warmstart import ingredients
from warmstart.engine.saving import load_saved, save_model
from warmstart.models import ModelError, count, load_model
from warmstart.models.wrapped import split_state
from warmstart.tuners.full import Full
from warmstart.tuners.lora import Lora
from warmstart.tuners.singular_values import SingularValues


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, groups=3, bias=False)])
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.linear(x.mean((2, 3)))


def wrapped(model) -> list:
    return [module for module in model.backbone.modules() if hasattr(module, "multiplicative")]


@torch.no_grad()
def moved(model) -> None:
    torch.manual_seed(1)
    for module in wrapped(model):
        module.values.add_(0.3 * torch.randn_like(module.values))


@pytest.mark.faithful("svfit")
@torch.no_grad()
@pytest.mark.parametrize("end", ["top", "bottom"])
def test_equals_residual_plus_trained_components(tiny, end):
    model = tiny("bert")
    layer = model.backbone.encoder.layer[0].intermediate.dense
    weight = layer.weight.clone()
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    kept = slice(0, 4) if end == "top" else slice(-4, None)
    SingularValues(rank=4, end=end, targets=["ffn.in"]).apply(model)
    module = model.backbone.encoder.layer[0].intermediate.dense
    torch.testing.assert_close(module.values, s[kept], rtol=1e-5, atol=1e-6)
    moved(model)
    residual = weight - u[:, kept] * s[kept] @ v[kept]
    x = torch.randn(7, 16)
    expected = x @ residual.T + (x @ v[kept].T * module.values) @ u[:, kept].T + layer.bias
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.faithful("svfit")
def test_rank_is_the_least_that_holds_more_than_the_energy(tiny):
    model = tiny("bert")
    layer = model.backbone.encoder.layer[0].intermediate.dense
    with torch.no_grad():
        u, _, v = torch.linalg.svd(layer.weight, full_matrices=False)
        s = torch.tensor([80.0, 15.0, 4.5] + [0.5 / 13] * 13)
        layer.weight.copy_(u * s @ v)
    for energy, rank in [(0.5, 1), (0.9, 2), (0.99, 3), (1.0, 16)]:
        fresh = load_model(nn.Sequential(nn.Linear(16, 24)))
        fresh.backbone[0].weight.data.copy_(layer.weight)
        SingularValues(energy=energy).apply(fresh)
        assert count([p for _, p in fresh.trainable()]) == rank


def test_factors_start_at_one_and_scale_their_component(tiny):
    model = tiny("bert")
    weight = model.backbone.encoder.layer[0].intermediate.dense.weight.detach().clone()
    tuner = SingularValues(rank=2, form="multiplicative", targets=["ffn.in"])
    tuner.apply(model)
    module = model.backbone.encoder.layer[0].intermediate.dense
    assert torch.equal(module.values, torch.ones(2))
    with torch.no_grad():
        module.values[0] = 1.5
        u, s, v = torch.linalg.svd(weight, full_matrices=False)
    tuner.fold(model)
    folded = model.backbone.encoder.layer[0].intermediate.dense.weight
    torch.testing.assert_close(folded, weight + 0.5 * s[0] * u[:, :1] @ v[:1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_folds_convolutions_as_matrices():
    torch.manual_seed(0)
    network = Layers().eval()
    names = set(network.state_dict())
    model, tuner = load_model(network), SingularValues(rank=3)
    tuner.apply(model)
    assert len(wrapped(model)) == 2
    moved(model)
    x = torch.randn(2, 3, 8, 8)
    before = network(x)
    tuner.fold(model)
    torch.testing.assert_close(network(x), before, rtol=1e-5, atol=1e-5)
    assert set(network.state_dict()) == names


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_embedding_table_trains_in_its_singular_values_and_folds(tiny, family):
    model, tuner = tiny(family).eval(), SingularValues(targets=["embed"])
    ids = torch.arange(4, 12).view(2, 4)
    untouched = model.backbone(input_ids=ids).last_hidden_state
    tuner.apply(model)
    moved(model)
    before = model.backbone(input_ids=ids).last_hidden_state
    assert not torch.allclose(before, untouched, atol=1e-3)
    tuner.fold(model)
    torch.testing.assert_close(model.backbone(input_ids=ids).last_hidden_state, before, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_parts_of_a_fused_weight_are_matrices_of_their_own(tiny):
    model = tiny("gpt2")
    weight = model.backbone.h[0].attn.c_attn.weight.T.clone()
    SingularValues(rank=3, targets=["block.0.attention.query", "block.0.attention.value"]).apply(model)
    module = model.backbone.h[0].attn.c_attn
    spectra = [torch.linalg.svdvals(weight[a : a + 16])[:3] for a in (0, 32)]
    torch.testing.assert_close(module.values, torch.cat(spectra), rtol=1e-5, atol=1e-6)
    module.values[:3] += 1.0
    change = module.change().T
    assert change[:16].abs().max() > 0.1
    assert torch.equal(change[16:], torch.zeros(32, 16))


def test_saves_the_values_and_no_vectors(tiny):
    model = tiny("bert")
    SingularValues(rank=4).apply(model)
    added = split_state(model.backbone)[1]
    assert count(list(added.values())) == 2 * 4 * 6 * 3
    assert count([p for _, p in model.trainable()]) == 4 * 6 * 3


def test_values_of_other_weights_are_refused(tiny, tmp_path):
    model, tuner = tiny("bert"), SingularValues()
    tuner.apply(model)
    model.changes.append({"tune": tuner.describe()})
    Full().apply(model)
    with torch.no_grad():
        model.backbone.encoder.layer[0].intermediate.dense.base_layer.weight.mul_(2)
    save_model(model, tmp_path)
    with pytest.raises(ModelError, match="fold singular_values"):
        load_saved(tmp_path, lambda spec: ingredients.build("tuners", spec))


def test_refuses_layers_that_carry_another_change(tiny):
    model = tiny("bert")
    Lora().apply(model)
    with pytest.raises(ModelError, match="before singular_values"):
        SingularValues().apply(model)


def test_refuses_a_shared_weight(tiny):
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[1].weight = network[0].weight
    with pytest.raises(ModelError, match="another layer"):
        SingularValues().apply(load_model(network))


@pytest.mark.parametrize("arguments", [{"rank": 0}, {"energy": 0}, {"end": "middle"}, {"form": "both"}])
def test_refuses_what_it_cannot_mean(arguments):
    with pytest.raises(ValueError, match="rank|energy|end|form"):
        SingularValues(**arguments)
