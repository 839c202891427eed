"""LEVI: the mean over depths of adapting layers, each of which reads a frozen state beside a small network."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.engine.rows import Rows
from warmstart.models.tower import pool_tokens
from warmstart.tuners.layerwise_view_ensemble import LayerwiseViewEnsemble, spread


def batch_for(model):
    return Rows(model, tiny_rows(model.tower().modality)).batch(np.arange(8))


def applied(model, **arguments):
    torch.manual_seed(0)
    LayerwiseViewEnsemble(**arguments).apply(model)
    return model


@pytest.mark.faithful("levi")
@pytest.mark.parametrize("family", ["vit", "bert", "mobilenet"])
@torch.no_grad()
def test_features_are_the_mean_of_the_adapting_layers(tiny, family):
    plain = tiny(family).eval()
    layers = [0, plain.tower().depth - 1]
    model = applied(copy.deepcopy(plain), layers=layers, width=6, residual=False).eval()
    batch = batch_for(plain)
    inputs = batch[plain.tower().modality]
    states = plain.tower().encode(inputs, [f"block.{i}" for i in layers]).states
    ensemble, mask = model.tower().project, inputs.get("attention_mask")
    own = ensemble.norms[-1](ensemble.scratch(inputs.get("pixel_values", inputs.get("input_ids")), mask))
    views = []
    for place, layer in enumerate(layers):
        state = states[f"block.{layer}"]
        how = "first" if family == "vit" else "mean"
        row = state.mean((2, 3)) if state.ndim == 4 else pool_tokens(state, mask, how)
        read = torch.cat([ensemble.norms[place](row), own], 1)
        views.append(ensemble.up[place](torch.nn.functional.gelu(ensemble.down[place](read))))
    torch.testing.assert_close(model.encode(batch).pooled, sum(views) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.faithful("levi")
@torch.no_grad()
def test_one_head_gives_the_mean_of_the_heads_logits(tiny):
    model = applied(tiny("vit"), layers=[0, 1, 2], residual=False).eval()
    head = model.attach("head", "linear", width=16, outputs=2, zero=False)
    batch, kept = batch_for(model), []
    views = model.tower().project.views
    model.tower().project.views = lambda own: kept.extend(views(own)) or kept
    logits = head(model.encode(batch).pooled)
    torch.testing.assert_close(logits, torch.stack([head(view) for view in kept]).mean(0))


@pytest.mark.faithful("levi")
def test_small_network_and_adapting_layers_learn_and_nothing_enters_the_encoder(tiny):
    model = applied(tiny("vit"), residual=False)
    model.encode(batch_for(model)).pooled.sum().backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned == {name for name, _ in model.trainable()}
    assert all(".image_pooled." in name for name in learned)
    assert any(".scratch." in name for name in learned)


def test_layers_are_the_last_third_and_evenly_spaced_ones():
    assert spread(12) == (2, 5, 8, 9, 10, 11)
    assert spread(3) == (1, 2)
    assert spread(1) == (0,)


def test_layers_may_be_counted_from_the_end(tiny):
    whole, last = (applied(tiny("vit"), layers=layers, residual=False).eval() for layers in ([0, 2], [0, -1]))
    batch = batch_for(whole)
    torch.testing.assert_close(whole.encode(batch).pooled, last.encode(batch).pooled)


@torch.no_grad()
def test_padding_changes_nothing(tiny):
    model = applied(tiny("bert"), residual=False).eval()
    inputs = batch_for(model)["text"]
    row = int(inputs["attention_mask"].sum(1).argmin())
    count = int(inputs["attention_mask"][row].sum())
    alone = {name: value[row : row + 1, :count] for name, value in inputs.items()}
    torch.testing.assert_close(model.tower().encode(inputs).pooled[row], model.tower().encode(alone).pooled[0])


@torch.no_grad()
def test_a_copy_reads_its_own_states(tiny):
    model = applied(tiny("vit"), residual=False).eval()
    twin, batch = copy.deepcopy(model), batch_for(model)
    before = model.encode(batch).pooled
    for parameter in twin.parameters():
        parameter.mul_(2)
    assert not torch.allclose(twin.encode(batch).pooled, before)
    torch.testing.assert_close(model.encode(batch).pooled, before)


def test_faults_are_named(tiny):
    with pytest.raises(ValueError, match="no block 7; the encoder has blocks 0 to 2"):
        applied(tiny("vit"), layers=[7])
    with pytest.raises(ValueError, match="width and depth are 1 or more"):
        LayerwiseViewEnsemble(width=0)
    model = tiny("vit")
    model.tower().modality = "audio"
    assert "images or tokens" in LayerwiseViewEnsemble.unfit(model)
