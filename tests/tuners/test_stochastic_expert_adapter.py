"""Sparse experts of one adapter: training draws them, evaluation sums them."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.engine.rows import Rows
from warmstart.tuners.stochastic_expert_adapter import StochasticExpertAdapter


def adapters(model):
    return [part.module for part in model.tower().parts("block.*.ffn.out")]


def batch_for(model):
    return Rows(model, tiny_rows(model.tower().modality)).batch(np.arange(8))


def moved(model, **arguments):
    """A model with adapters all of whose weights have left their start."""
    torch.manual_seed(0)
    StochasticExpertAdapter(width=4, **arguments).apply(model)
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.faithful("mosa-adapter")
def test_masks_are_disjoint_equal_and_whole(tiny):
    for adapter in adapters(moved(tiny("vit"), experts=4, share=None)):
        for projection in (adapter.down, adapter.up):
            masks = torch.stack([projection.owner == i for i in range(4)])
            assert masks.sum(0).eq(1).all()
            assert masks.flatten(1).sum(1).eq(projection.owner.numel() // 4).all()


@pytest.mark.faithful("mosa-adapter")
@torch.no_grad()
def test_evaluation_is_the_sum_of_masked_expert_updates_on_the_common_start(tiny):
    model = moved(tiny("vit"), experts=3, share=None, scale=0.5, merge="sum").eval()
    adapter = adapters(model)[0]
    merged = []
    for projection in (adapter.down, adapter.up):
        merged.append(projection.start + sum(projection.of(i) - projection.start for i in range(3)))
        torch.testing.assert_close(merged[-1], projection.weight, rtol=0, atol=1e-6)
        for i in range(3):
            outside = projection.owner != i
            assert torch.equal(projection.of(i)[outside], projection.start[outside])
    x, hidden = torch.randn(2, 5, 16), torch.randn(2, 5, 24)
    adapter.note_input(None, (x,))
    narrow = torch.nn.functional.gelu(x @ merged[0].T + adapter.down.bias)
    expected = adapter.base_layer(hidden) + 0.5 * (narrow @ merged[1].T + adapter.up.bias)
    torch.testing.assert_close(adapter(hidden), expected, rtol=0, atol=1e-6)


@pytest.mark.faithful("mosa-adapter")
@torch.no_grad()
def test_by_default_evaluation_is_the_mean_of_the_experts_as_in_the_official_code(tiny):
    """vit_mosa.py, merge('add'): the experts' weights are added up and divided by their number."""
    for adapter in adapters(moved(tiny("vit"), experts=3, share=None)):
        for projection in (adapter.down, adapter.up):
            mean = sum(projection.of(i) for i in range(3)) / 3
            torch.testing.assert_close(mean, projection.weight, rtol=0, atol=1e-6)


@pytest.mark.faithful("mosa-adapter")
def test_training_reaches_one_expert_of_each_projection(tiny):
    model = moved(tiny("vit"), experts=4, share=None).train()
    drawn = set()
    for seed in range(20):
        torch.manual_seed(seed)
        model.zero_grad()
        model.encode(batch_for(model)).pooled.square().sum().backward()
        adapter = adapters(model)[1]
        owners = [p.owner[p.weight.grad != 0].unique().tolist() for p in (adapter.down, adapter.up)]
        assert [len(one) for one in owners] == [1, 1]
        drawn.add((owners[0][0], owners[1][0]))
    assert len({a for a, _ in drawn}) == len({b for _, b in drawn}) == 4
    assert any(a != b for a, b in drawn)


def test_two_forwards_in_training_differ_and_in_evaluation_do_not(tiny):
    model = moved(tiny("vit"), experts=4)
    first, second = (model.train().encode(batch_for(model)).pooled for _ in range(2))
    assert not torch.allclose(first, second)
    first, second = (model.eval().encode(batch_for(model)).pooled for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.faithful("mosa-adapter")
def test_trains_what_the_dense_adapter_of_one_expert_trains(tiny):
    sizes = {}
    for experts, share in ((1, None), (2, "up"), (4, "down"), (4, None)):
        model = moved(tiny("bert"), experts=experts, share=share)
        sizes[experts, share] = sum(p.numel() for _, p in model.trainable())
    assert set(sizes.values()) == {3 * (16 * 4 + 4 + 4 * 16 + 16)}
    dense = moved(tiny("bert"), experts=1)
    first, second = (copy.deepcopy(dense).train(on).encode(batch_for(dense)).pooled for on in (True, False))
    torch.testing.assert_close(first, second)


def test_a_shared_projection_has_no_experts(tiny):
    adapter = adapters(moved(tiny("vit"), experts=4, share="down"))[0]
    assert not hasattr(adapter.down, "owner")
    assert hasattr(adapter.up, "owner")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"experts": 0}, "1 or more"),
        ({"width": 0}, "1 or more"),
        ({"share": "both"}, "down, up"),
        ({"merge": "max"}, "mean or sum"),
    ],
)
def test_refuses_what_means_nothing(arguments, said):
    with pytest.raises(ValueError, match=said):
        StochasticExpertAdapter(**arguments)
