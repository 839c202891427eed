import copy

import pytest
import torch
from torch import nn

from warmstart.models import ModelError, count
from warmstart.tuners.adapter import Adapter

RANK, WIDTH, BLOCKS = 3, 16, 3
IDS = torch.arange(4, 12).view(2, 4)


def adapted(tiny, family: str = "bert", **arguments):
    """A model whose adapters are not zero."""
    torch.manual_seed(1)
    model = tiny(family).eval()
    Adapter(rank=RANK, **arguments).apply(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".adapter." in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def seen(module: nn.Module):
    """What a module reads and returns at its next call."""
    found = {}
    module.register_forward_hook(lambda module, args, output: found.update(read=args[0], written=output))
    return found


def bottleneck(layer: nn.Module, state: torch.Tensor) -> torch.Tensor:
    weights = {name.removeprefix("adapter."): tensor for name, tensor in layer.named_parameters()}
    hidden = (state @ weights["down.weight"].T + weights["down.bias"]).clamp_min(0)
    return hidden @ weights["up.weight"].T + weights["up.bias"]


@torch.no_grad()
@pytest.mark.faithful("unified-petl")
@pytest.mark.parametrize("place", ["ffn", "attention"])
def test_parallel_adds_s_relu_x_down_up_to_what_the_layer_gives(tiny, place):
    model = adapted(tiny, place=place, scaling=4.0)
    block = model.backbone.encoder.layer[1]
    if place == "ffn":
        read, layer = seen(block.intermediate.dense), block.output.dense
    else:
        read, layer = seen(block.attention.self.query), block.attention.output.dense
    inside, whole = seen(layer.base_layer), seen(layer)
    model.backbone(input_ids=IDS)
    expected = inside["written"] + 4.0 * bottleneck(layer, read["read"])
    torch.testing.assert_close(whole["written"], expected)


@torch.no_grad()
@pytest.mark.faithful("unified-petl", "petl-ast")
@pytest.mark.parametrize("residual", [None, True, False])
def test_sequential_reads_what_the_layer_gives(tiny, residual):
    model = adapted(tiny, insertion="sequential", scaling=2.0, residual=residual)
    layer = model.backbone.encoder.layer[0].output.dense
    inside, whole = seen(layer.base_layer), seen(layer)
    model.backbone(input_ids=IDS)
    given = inside["written"]
    expected = 2.0 * bottleneck(layer, given) + (0 if residual is False else given)
    torch.testing.assert_close(whole["written"], expected)


@torch.no_grad()
@pytest.mark.faithful("petl-ast")
def test_the_residual_inside_a_parallel_adapter_is_what_the_layer_reads(tiny):
    model = adapted(tiny, "vit", residual=True)
    block = model.backbone.layers[0]
    read, inside, whole = seen(block.mlp.fc1), seen(block.mlp.fc2.base_layer), seen(block.mlp.fc2)
    model.backbone(pixel_values=torch.randn(2, 3, 16, 16))
    expected = inside["written"] + bottleneck(block.mlp.fc2, read["read"]) + read["read"]
    torch.testing.assert_close(whole["written"], expected)


@torch.no_grad()
@pytest.mark.faithful("petl-ast")
def test_the_conformer_is_glu_depthwise_convolution_batch_norm_and_silu(tiny):
    model = adapted(tiny, "vit", form="conformer", kernel=5)
    block = model.backbone.layers[0]
    conformer = block.mlp.fc2.adapter
    read, inside, whole = seen(block.mlp.fc1), seen(block.mlp.fc2.base_layer), seen(block.mlp.fc2)
    model.backbone(pixel_values=torch.randn(2, 3, 16, 16))
    weights = dict(conformer.named_parameters())
    x = nn.functional.layer_norm(read["read"], (WIDTH,), weights["norm.weight"], weights["norm.bias"])
    value, gate = (x @ weights["first.weight"][:, :, 0].T + weights["first.bias"]).chunk(2, -1)
    gated = nn.functional.pad(value * gate.sigmoid(), (0, 0, 2, 2))
    kernel = weights["depthwise.weight"][:, 0]
    mixed = sum(gated[:, i : i + x.shape[1]] * kernel[:, i] for i in range(5)) + weights["depthwise.bias"]
    mixed = mixed / (1 + 1e-5) ** 0.5 * weights["batch_norm.weight"] + weights["batch_norm.bias"]
    out = (mixed * mixed.sigmoid()) @ weights["second.weight"][:, :, 0].T + weights["second.bias"]
    torch.testing.assert_close(whole["written"], inside["written"] + out, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("place", "adapters"), [("ffn", 1), ("attention", 1), ("both", 2)])
@pytest.mark.parametrize("insertion", ["parallel", "sequential"])
def test_trains_two_matrices_and_two_biases_a_place(tiny, place, adapters, insertion):
    model = tiny("bert")
    Adapter(rank=RANK, place=place, insertion=insertion).apply(model)
    one = 2 * WIDTH * RANK + RANK + WIDTH
    assert count([p for _, p in model.trainable()]) == BLOCKS * adapters * one


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama", "dinov2", "distilbert", "clip"])
@pytest.mark.parametrize("insertion", ["parallel", "sequential"])
def test_starts_at_the_model_and_reaches_its_output_in_every_block(tiny, family, insertion):
    model = tiny(family).eval()
    images = model.tower().modality == "image"
    inputs = {"pixel_values": torch.randn(2, 3, 16, 16)} if images else {"input_ids": IDS}
    before = model.tower().encode(inputs).pooled
    Adapter(place="both", insertion=insertion).apply(model)
    torch.testing.assert_close(model.tower().encode(inputs).pooled, before)
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("adapter.up.bias")]
    assert len(biases) == 2 * BLOCKS
    for bias in biases:
        bias[0] += 1.0
        after = model.tower().encode(inputs).pooled
        assert not torch.allclose(after, before)
        before = after


@torch.no_grad()
def test_a_copy_reads_its_own_states(tiny):
    model = adapted(tiny)
    twin = copy.deepcopy(model)
    before = model.backbone(input_ids=IDS).last_hidden_state
    for name, parameter in model.named_parameters():
        if ".adapter." in name:
            parameter.zero_()
    torch.testing.assert_close(twin.backbone(input_ids=IDS).last_hidden_state, before)


def test_another_shape_is_refused(tiny):
    model = tiny("bert")
    Adapter(rank=4).apply(model)
    with pytest.raises(ModelError, match=r"block.0.ffn.out carries an adapter of another shape"):
        Adapter(rank=2).apply(model)
    Adapter(rank=4, place="attention").apply(model)


def test_what_it_does_not_fit_is_one_line(tiny):
    assert "are not known" in Adapter.unfit(tiny("mobilenet"))
    with pytest.raises(ValueError, match="of this image encoder are not known"):
        Adapter().apply(tiny("mobilenet"))
    with pytest.raises(ValueError, match="place is one of attention, ffn, both, not 'norm'"):
        Adapter(place="norm")
    with pytest.raises(ValueError, match="rank and kernel are 1 or more"):
        Adapter(rank=0)


def test_fits_a_spectrogram_transformer():
    from warmstart.models.audio_encoder import audio_encoder

    model = audio_encoder(width=16, depth=2, heads=2, patch=4, frames=8, mel_bins=8)
    Adapter(rank=RANK, form="conformer", kernel=3).apply(model)
    assert model.tower().encode({"input_values": torch.randn(2, 8, 8)}).pooled.shape == (2, 16)
