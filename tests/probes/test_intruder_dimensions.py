"""Intruders are counted as the paper defines them, and known ones are found."""

import pytest
import torch
from tiny_models import tiny  # noqa: F401

from warmstart.engine.cast import Cast
from warmstart.probes.intruder_dimensions import IntruderDimensions, similarities
from warmstart.tuners.lora import Lora


def measured(start, model, **arguments) -> dict:
    return IntruderDimensions(**arguments).measure(Cast(model, start=start), None)


@pytest.mark.faithful("intruder-dimensions")
def test_similarity_is_the_largest_cosine_with_any_vector_before():
    torch.manual_seed(0)
    before, after = torch.randn(12, 8), torch.randn(12, 8)
    old, new = torch.linalg.svd(before)[0][:, :8], torch.linalg.svd(after)[0]
    expected = [max(abs(float(new[:, j] @ old[:, i])) for i in range(8)) for j in range(3)]
    torch.testing.assert_close(similarities(before, after, 3).float(), torch.tensor(expected))


@pytest.mark.faithful("intruder-dimensions")
def test_a_planted_spike_is_one_intruder_and_noise_of_its_norm_none():
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(96, 96))[0], torch.linalg.qr(torch.randn(96, 96))[0]
    weight = left * 0.9 ** torch.arange(96) @ right.T
    spike, noise = torch.outer(torch.randn(96), torch.randn(96)), torch.randn(96, 96)
    found = [(similarities(weight, weight + 1.2 * one / one.norm(), 10) < 0.5).sum() for one in (spike, noise)]
    assert found == [1, 0]


def test_nothing_intrudes_where_nothing_changed(tiny):  # noqa: F811
    found = measured(tiny("bert"), tiny("bert"))
    assert (found["count"], found["matrices"]) == (0, 18)
    assert found["similarity"] == pytest.approx(1.0)


@torch.no_grad()
def test_counts_what_a_tuner_added_by_folding_a_copy(tiny):  # noqa: F811
    model, tuner = tiny("gpt2"), Lora(rank=1, alpha=1, targets=["ffn.in"])
    tuner.apply(model)
    layer = model.backbone.h[0].mlp.c_fc
    torch.manual_seed(0)
    layer.lora_B["default"].weight.normal_().mul_(100)
    found = measured(tiny("gpt2"), model, tuner=tuner, parts=["ffn.in"], top=1)
    assert found["count"] == found["largest"] == 1
    assert layer is model.backbone.h[0].mlp.c_fc
    assert found["per_matrix"] == pytest.approx(1 / 3)


def test_a_tuner_that_is_not_named_is_refused(tiny):  # noqa: F811
    model = tiny("bert")
    Lora().apply(model)
    with pytest.raises(ValueError, match="name the tuner"):
        measured(tiny("bert"), model)


def test_controls_are_reported(tiny):  # noqa: F811
    found = measured(tiny("bert"), tiny("bert"), controls=True, top=2)
    assert set(found) >= {"spike", "noise"}


def test_refuses_what_it_cannot_mean():
    with pytest.raises(ValueError, match="top"):
        IntruderDimensions(top=0)
