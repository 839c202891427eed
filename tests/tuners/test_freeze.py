import pytest
import torch

from warmstart.models import count, load_model
from warmstart.tuners.freeze import Freeze


def trains(model, **arguments) -> set[str]:
    Freeze(**arguments).apply(model)
    return {name for name, _ in model.trainable()}


def inside(names: set[str], *prefixes: str) -> bool:
    return bool(names) and all(name.startswith(prefixes) for name in names)


def test_top_blocks_train_and_nothing_below(tiny):
    model = tiny("bert")
    names = trains(model, top=2)
    assert inside(names, "backbone.encoder.layer.1.", "backbone.encoder.layer.2.")
    assert count([p for _, p in model.trainable()]) == 2 * count(list(model.backbone.encoder.layer[0].parameters()))


def test_what_comes_after_the_blocks_trains_with_them(tiny):
    assert inside(trains(tiny("vit"), top=1), "backbone.layers.2.", "backbone.layernorm.")
    assert inside(trains(tiny("gpt2"), top=1), "backbone.h.2.", "backbone.ln_f.")
    clip = trains(tiny("clip"), top=0)
    assert inside(clip, "backbone.vision_model.post_layernorm.", "backbone.visual_projection.")
    mobilenet = trains(tiny("mobilenet"), top=1)
    assert inside(mobilenet, *(f"backbone.timm_model.{part}." for part in ("blocks.6", "conv_head", "bn2")))


def test_a_pooling_that_is_not_read_does_not_count(tiny):
    assert not any("pooler" in name for name in trains(tiny("bert"), top=None))


def test_bitfit_trains_every_bias_and_no_weight(tiny):
    model = tiny("bert")
    names = trains(model, top=None, parts="bias")
    expected = {
        f"backbone.{name}"
        for name, _ in model.backbone.named_parameters()
        if name.endswith(".bias") and "pooler" not in name
    }
    assert names == expected


def test_prefix_is_what_lies_below_the_top_blocks(tiny):
    model = tiny("bert")
    assert [Freeze(top=top).prefix(model) for top in (0, 1, 2, 3, 9, None)] == [3, 2, 1, 0, 0, 0]


def test_says_why_it_does_not_fit():
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1))
    assert "blocks" in Freeze.unfit(load_model(plain))


@pytest.mark.parametrize("arguments", [{"parts": "weights"}, {"top": -1}])
def test_refuses_what_it_cannot_mean(arguments):
    with pytest.raises(ValueError, match="parts|top"):
        Freeze(**arguments)
