"""Targets are weights by their part names, or all layers of the blocks where parts are not known."""

import pytest
import torch
from torch import nn

from warmstart.models import load_model
from warmstart.models.coupled import coupled
from warmstart.models.targets import EVERY_LINEAR, as_weight, matrix_of, targets
from warmstart.models.wrapped import Wrapped


def paths(model, *patterns, **options) -> list[str]:
    return [target.path for target in targets(model, patterns or EVERY_LINEAR, **options)]


def test_names_reach_every_block_or_one(tiny):
    assert len(paths(tiny("bert"))) == 6 * 3
    assert paths(tiny("bert"), "block.1.ffn.in") == ["encoder.layer.1.intermediate.dense"]
    with pytest.raises(LookupError, match="ffn"):
        paths(tiny("bert"), "ffn.gate")


def test_a_fused_weight_is_met_once_with_the_rows_that_are_meant(tiny):
    (target,) = targets(tiny("gpt2"), ["block.0.attention.value", "block.0.attention.query"])
    assert target.rows == [(0, 16), (32, 48)]


def test_of_convolutional_encoders_the_layers_of_the_blocks_are_meant(tiny):
    model = tiny("mobilenet")
    every, narrow = targets(model, EVERY_LINEAR), targets(model, EVERY_LINEAR, pointwise=True)
    assert all(target.path.startswith(f"{target.tower.layout.blocks}.") for target in every)
    assert all(target.layer.kernel_size == (1, 1) for target in narrow)
    assert 0 < len(narrow) < len(every)


def test_an_embedding_is_a_target_only_where_that_is_said(tiny):
    assert paths(tiny("gpt2"), "embed", embeddings=True) == ["wte"]
    with pytest.raises(LookupError, match="no weight matrix"):
        paths(tiny("gpt2"), "embed")


def test_a_wrapper_is_found_below_others(tiny):
    class Inner(Wrapped):
        pass

    class Outer(Wrapped):
        pass

    model = tiny("bert")
    (target,) = targets(model, ["block.0.ffn.in"])
    inner = Inner(target.module)
    target.put(Outer(inner))
    (again,) = targets(model, ["block.0.ffn.in"])
    assert again.wrapper(Inner) is inner
    assert again.layer is target.layer
    assert again.wrapper(nn.Linear) is None


@pytest.mark.parametrize("layer", [nn.Linear(3, 5), nn.Conv2d(4, 6, 3, groups=2), nn.Embedding(7, 2)])
def test_a_matrix_goes_back_into_its_shape(layer):
    assert torch.equal(as_weight(matrix_of(layer), layer), layer.weight)


def test_heads_and_channels_of_known_blocks(tiny):
    kinds = [(block.kind, block.units, block.width) for block in coupled(tiny("gpt2").tower())]
    assert kinds == [("attention", 2, 8), ("ffn", 64, 1)] * 3
    with pytest.raises(LookupError, match="heads"):
        list(coupled(load_model(nn.Sequential(nn.Conv2d(3, 4, 3))).tower()))
