import pytest
import torch
from torch import nn

from warmstart.models import ModelError, count, load_model
from warmstart.tuners.lora import Lora
from warmstart.tuners.scale_shift import ScaleShift


class Block(nn.Module):
    """Everything that a scale and shift must fold into."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, groups=3)
        self.bare = nn.Conv2d(6, 6, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(6)
        self.group_norm = nn.GroupNorm(2, 6)
        self.linear = nn.Linear(6, 5)
        self.layer_norm = nn.LayerNorm(5)
        self.rms_norm = nn.RMSNorm(5)

    def forward(self, x):
        x = self.group_norm(self.batch_norm(self.bare(self.conv(x))).relu()).mean((2, 3))
        return self.rms_norm(self.layer_norm(self.linear(x)))


class StandardizedConv(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class OffsetRMSNorm(nn.Module):
    """As Gemma's: scales by one plus the weight."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return nn.functional.rms_norm(x, x.shape[-1:]) * (1 + self.weight)


def scrambled(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith((".scale", ".shift")):
                parameter.add_(0.5 * torch.randn_like(parameter))
    return model


@pytest.mark.faithful("ssf")
@torch.no_grad()
@pytest.mark.parametrize("kind", ["linear", "conv", "bare", "batch_norm", "group_norm", "layer_norm", "rms_norm"])
def test_equals_scale_times_layer_plus_shift(kind):
    torch.manual_seed(0)
    block = Block().eval()
    layer = getattr(block, kind)
    ScaleShift().apply(load_model(block))
    wrapped = getattr(block, kind)
    wrapped.scale.normal_()
    shift = torch.zeros(len(wrapped.scale)) if wrapped.shift is None else wrapped.shift.normal_()
    x = torch.randn(2, 6 if kind != "conv" else 3, 4, 4)
    along = (1, -1, 1, 1)
    if kind in ("linear", "layer_norm", "rms_norm"):
        x, along = torch.randn(2, 7, 6 if kind == "linear" else 5), (1, 1, -1)
    torch.testing.assert_close(wrapped(x), wrapped.scale.view(along) * layer(x) + shift.view(along))


@pytest.mark.faithful("ssf")
@torch.no_grad()
def test_folds_into_every_kind_of_layer():
    torch.manual_seed(0)
    block = Block().eval()
    names = set(block.state_dict())
    model, tuner = load_model(block), ScaleShift()
    tuner.apply(model)
    scrambled(model)
    x = torch.randn(4, 3, 8, 8)
    before = block(x)
    tuner.fold(model)
    torch.testing.assert_close(block(x), before, rtol=1e-5, atol=1e-5)
    assert set(block.state_dict()) == names


@pytest.mark.faithful("ssf")
@torch.no_grad()
@pytest.mark.parametrize("family", ["bert", "gpt2", "vit", "dinov2", "clip", "llama", "mobilenet"])
def test_folds_large_changes_exactly(tiny, family):
    model, tuner = tiny(family).eval(), ScaleShift()
    tuner.apply(model)
    for name, parameter in model.named_parameters():
        if name.endswith((".scale", ".shift")):
            parameter.add_(0.1 * torch.randn_like(parameter))
    tower = model.tower()
    inputs = {"pixel_values": torch.randn(2, 3, 16, 16)}
    if tower.modality == "text":
        inputs = {"input_ids": torch.arange(4, 12).view(2, 4), "attention_mask": torch.ones(2, 4, dtype=torch.long)}
    before = tower.encode(inputs).pooled
    tuner.fold(model)
    scale = max(1.0, before.abs().max().item())
    torch.testing.assert_close(tower.encode(inputs).pooled, before, rtol=0, atol=1e-5 * scale)


def test_counts_a_scale_for_every_channel_and_a_shift_where_there_is_a_bias(tiny):
    model = tiny("bert")
    ScaleShift().apply(model)
    block = 5 * 16 + 24 + 2 * 16
    assert count([p for _, p in model.trainable()]) == 2 * (3 * block + 16)
    model = tiny("llama")
    ScaleShift().apply(model)
    layers = model.tower().linears() + model.tower().norms()
    assert count([p for _, p in model.trainable()]) == sum(len(layer.scale) for _, layer in layers)


def test_layers_whose_output_does_not_follow_their_weight_are_left_alone():
    network = nn.Sequential(StandardizedConv(3, 4, 3), nn.Flatten(), nn.Linear(16, 4), OffsetRMSNorm(4))
    ScaleShift().apply(load_model(network))
    assert [hasattr(layer, "base_layer") for layer in network] == [False, False, True, False]


@pytest.mark.faithful("ssf")
def test_paper_initialisation_is_drawn_around_the_identity(tiny):
    model = tiny("bert")
    ScaleShift(noise=0.02).apply(model)
    scales = torch.cat([p.detach() for n, p in model.named_parameters() if n.endswith(".scale")])
    shifts = torch.cat([p.detach() for n, p in model.named_parameters() if n.endswith(".shift")])
    assert abs(scales.mean() - 1) < 0.005
    assert 0.01 < scales.std() < 0.03
    assert abs(shifts.mean()) < 0.005
    assert 0.01 < shifts.std() < 0.03


@torch.no_grad()
def test_over_lora_folds_after_it(tiny):
    model, inner, outer = tiny("bert").eval(), Lora(), ScaleShift()
    inner.apply(model)
    outer.apply(model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or name.endswith(".scale"):
            parameter.add_(0.1 * torch.randn_like(parameter))
    ids = torch.arange(4, 12).view(2, 4)
    before = model.backbone(input_ids=ids).last_hidden_state
    with pytest.raises(ModelError, match="before scale_shift"):
        outer.fold(model)
    inner.fold(model)
    outer.fold(model)
    torch.testing.assert_close(model.backbone(input_ids=ids).last_hidden_state, before, rtol=1e-5, atol=1e-5)
