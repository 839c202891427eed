import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.engine.rows import Rows
from warmstart.models import ModelError, count, load_model
from warmstart.tuners.lora import Lora


def adapted(model) -> set[str]:
    return {name.partition(".lora_A")[0] for name, _ in model.backbone.named_parameters() if ".lora_A" in name}


def test_targets_are_named_in_one_vocabulary(tiny):
    for family, query, value in [
        ("bert", "encoder.layer.1.attention.self.query", "encoder.layer.1.attention.self.value"),
        ("vit", "layers.1.attention.q_proj", "layers.1.attention.v_proj"),
        ("llama", "layers.1.self_attn.q_proj", "layers.1.self_attn.v_proj"),
        ("clip", "vision_model.encoder.layers.1.self_attn.q_proj", "vision_model.encoder.layers.1.self_attn.v_proj"),
    ]:
        model = tiny(family)
        Lora().apply(model)
        assert {query, value} <= adapted(model)
        assert len(adapted(model)) == 2 * 3


def test_a_fused_weight_is_adapted_once(tiny):
    model = tiny("gpt2")
    Lora().apply(model)
    assert adapted(model) == {f"h.{i}.attn.c_attn" for i in range(3)}


def test_trains_rank_times_both_widths(tiny):
    model = tiny("bert")
    Lora(rank=4, targets=("attention.query", "ffn.in")).apply(model)
    assert count([p for _, p in model.trainable()]) == 3 * (4 * (16 + 16) + 4 * (16 + 24))


def test_one_part_of_one_block(tiny):
    model = tiny("bert")
    Lora(targets=["block.2.ffn.out"]).apply(model)
    assert adapted(model) == {"encoder.layer.2.output.dense"}


def test_pointwise_convolutions_where_parts_are_not_known(tiny):
    model = tiny("mobilenet")
    Lora(rank=2).apply(model)
    layers = [model.backbone.get_submodule(path) for path in adapted(model)]
    assert layers
    assert all(layer.get_base_layer().kernel_size == (1, 1) for layer in layers)
    assert all(path.startswith("timm_model.blocks.") for path in adapted(model))


@torch.no_grad()
def test_equals_the_formula(tiny):
    model = tiny("bert")
    Lora(rank=2, alpha=6, targets=["block.0.ffn.in"]).apply(model)
    layer = model.backbone.encoder.layer[0].intermediate.dense
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    b.normal_()
    x = torch.randn(5, 16)
    base = layer.get_base_layer()
    torch.testing.assert_close(layer(x), base(x) + (6 / 2) * x @ a.T @ b.T)


@torch.no_grad()
def test_equals_get_peft_model_on_the_same_layers(tiny):
    from peft import LoraConfig, get_peft_model

    ours, theirs = tiny("bert"), tiny("bert")
    torch.manual_seed(5)
    Lora(rank=4, alpha=8).apply(ours)
    torch.manual_seed(5)
    wrapped = get_peft_model(theirs.backbone, LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"]))
    for parameters in (ours.backbone.named_parameters(), theirs.backbone.named_parameters()):
        for name, parameter in parameters:
            if "lora_B" in name:
                parameter.fill_(0.1)
    inputs = Rows(ours, tiny_rows("text")).batch(np.arange(8))["text"]
    expected = wrapped.eval()(**inputs).last_hidden_state
    assert torch.equal(ours.eval().backbone(**inputs).last_hidden_state, expected)


def test_an_unknown_target_names_the_known_ones(tiny):
    with pytest.raises(LookupError, match=r"block\.\*\.ffn\.in"):
        Lora(targets=["ffn.inn"]).apply(tiny("bert"))


def test_a_norm_is_no_target(tiny):
    with pytest.raises(LookupError, match="LayerNorm"):
        Lora(targets=["norm.first"]).apply(tiny("bert"))


def test_refuses_a_second_lora_of_another_rank(tiny):
    model = tiny("bert")
    Lora(rank=4).apply(model)
    with pytest.raises(ModelError, match="fold it first"):
        Lora(rank=8).apply(model)


def test_says_why_it_does_not_fit():
    assert Lora.unfit(load_model(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)))) is not None
