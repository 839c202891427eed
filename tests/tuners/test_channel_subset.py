"""Heads and channels change places without a trace, a slice of them trains, and slices of different units add."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart import ingredients
from warmstart.engine.rows import Rows
from warmstart.engine.saving import load_saved, save_model
from warmstart.models import ModelError, count, fingerprint
from warmstart.models.coupled import coupled
from warmstart.tuners.channel_subset import ChannelSubset
from warmstart.tuners.lora import Lora

KNOWN = ["bert", "distilbert", "gpt2", "llama", "vit", "dinov2", "clip"]


def rows_for(model) -> Rows:
    return Rows(model, tiny_rows(model.tower().modality))


@torch.no_grad()
def states(model) -> torch.Tensor:
    found = model.eval().encode(rows_for(model).batch(np.arange(8)))
    return found.pooled if found.tokens is None else found.tokens


@torch.no_grad()
def moved(model, seed: int = 1):
    torch.manual_seed(seed)
    for name, parameter in model.backbone.named_parameters():
        if name.endswith(".delta"):
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def applied(model, **arguments):
    tuner = ChannelSubset(**{"seed": 3} | arguments)
    tuner.apply(model, rows_for(model))
    return tuner


@pytest.mark.faithful("s2ft")
@pytest.mark.parametrize("family", KNOWN)
def test_the_permuted_model_equals_the_original(tiny, family):
    model = tiny(family)
    before, plain = states(model), fingerprint(model.backbone)
    tuner = applied(model, heads=0.5, channels=0.3)
    torch.testing.assert_close(states(model), before, rtol=0, atol=1e-5 * max(1.0, before.abs().max().item()))
    orders = [m.order for m in model.backbone.modules() if "order" in m._buffers]
    assert any(not torch.equal(order, torch.arange(len(order))) for order in orders)
    tuner.fold(model)
    assert fingerprint(model.backbone) == plain


@pytest.mark.faithful("s2ft")
@torch.no_grad()
def test_equals_the_formula_on_the_chosen_channels(tiny):
    model, plain = tiny("bert"), tiny("bert").eval()
    applied(moved(model), heads=0, channels=0.25)
    moved(model)
    layer, reader = model.backbone.encoder.layer[0].output.dense, plain.backbone.encoder.layer[0].output.dense
    chosen = layer.order[:6]
    x = torch.randn(5, 24)
    torch.testing.assert_close(layer(x[:, layer.order]), reader(x) + x[:, chosen] @ layer.delta.T)


@pytest.mark.faithful("s2ft")
@torch.no_grad()
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_two_slices_of_different_units_add(tiny, family):
    start = dict(tiny(family).backbone.named_parameters())
    changes = []
    for part in (0, 1):
        model = tiny(family)
        tuner = applied(model, heads=0 if family == "llama" else 0.5, channels=0.25, part=part)
        moved(model, seed=part)
        tuner.fold(model)
        changes.append({name: p - start[name] for name, p in model.backbone.named_parameters()})
    touched = [{name: change != 0 for name, change in one.items()} for one in changes]
    assert all(any(mask.any() for mask in one.values()) for one in touched)
    assert not any((touched[0][name] & touched[1][name]).any() for name in start)


@torch.no_grad()
@pytest.mark.parametrize("family", KNOWN)
def test_folds_and_leaves_every_unit_in_its_place(tiny, family):
    model = tiny(family)
    tuner = applied(model, heads=0.5, channels=0.3)
    moved(model)
    before = states(model)
    tuner.fold(model)
    torch.testing.assert_close(states(model), before, rtol=0, atol=1e-5 * max(1.0, before.abs().max().item()))
    assert {n for n, _ in model.backbone.named_parameters()} == {n for n, _ in tiny(family).backbone.named_parameters()}


def test_counts_columns_of_heads_and_channels(tiny):
    model = tiny("gpt2")
    applied(model, heads=0.5, channels=0.05)
    inner = model.backbone.config.n_inner or 64
    assert count([p for _, p in model.trainable()]) == 3 * 16 * (8 + round(0.05 * inner))


def test_heads_that_share_keys_and_values_are_one_unit(tiny):
    model = tiny("llama")
    assert [block.units for block in coupled(model.tower(), ("attention",))] == [1, 1, 1]


@torch.no_grad()
def test_permuted_weights_come_back_without_data(tiny, tmp_path):
    model = tiny("gpt2")
    tuner = applied(model, heads=0.5, channels=0.1)
    model.changes.append({"tune": tuner.describe()})
    moved(model)
    save_model(model, tmp_path)
    again = load_saved(tmp_path, lambda spec: ingredients.build("tuners", spec))
    assert torch.equal(states(again), states(model))
    for one in (model, again):
        tuner.fold(one)
    assert fingerprint(again.backbone) == fingerprint(model.backbone)


@torch.no_grad()
def test_chooses_the_units_of_the_largest_weights_or_inputs(tiny):
    for by in ("weights", "inputs"):
        model, plain = tiny("bert"), tiny("bert")
        applied(model, heads=0, channels=0.1, by=by)
        block = next(coupled(plain.tower(), ("ffn",)))
        if by == "weights":
            layer = plain.backbone.encoder.layer[0]
            values = (
                layer.output.dense.weight.square().sum(0) + layer.intermediate.dense.weight.square().sum(1)
            ).sqrt()
            torch.testing.assert_close(block.sizes(), values)
        else:
            seen = []
            block.reader.register_forward_pre_hook(lambda m, a, seen=seen: seen.append(a[0]))
            batch = rows_for(plain).batch(np.arange(8))["text"]
            plain.eval().backbone(**batch)
            values = seen[0][batch["attention_mask"].bool()].abs().mean(0)
        assert torch.equal(model.backbone.encoder.layer[0].output.dense.order[:2], values.topk(2).indices)


def test_refuses_layers_that_carry_another_change(tiny):
    model = tiny("bert")
    Lora().apply(model)
    with pytest.raises(ModelError, match="fold it first"):
        ChannelSubset().apply(model, rows_for(model))


def test_says_why_it_does_not_fit(tiny):
    assert "heads" in ChannelSubset.unfit(tiny("mobilenet"))


@pytest.mark.parametrize("arguments", [{"heads": 0, "channels": 0}, {"heads": 2}, {"part": -1}, {"end": "middle"}])
def test_refuses_what_it_cannot_mean(arguments):
    with pytest.raises(ValueError, match="heads|part|end"):
        ChannelSubset(**arguments)


def test_refuses_a_part_beyond_the_units(tiny):
    with pytest.raises(ValueError, match="part 2"):
        applied(tiny("bert"), heads=0.5, part=2)
