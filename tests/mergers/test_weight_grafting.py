"""Grafts equal what numpy picks; the relaxed mask follows the loss, and starts at the largest changes."""

import numpy as np
import pytest
import torch
from merging import arrays, assert_equal, fine_tunings, learner_over, with_head

from warmstart.engine.step import Step
from warmstart.engine.weights import give, weights_of
from warmstart.mergers.weight_grafting import WeightGrafting


def pieces(tiny, steps=0, rate=0.1, size=0.1):
    model = with_head(tiny("vit"))
    base = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    (tuned,) = fine_tunings(model, 1, size)
    learner = learner_over(model, steps, rate)
    learner.settings = _with(learner.settings, optimizer="sgd", momentum=0.0, clip=None)
    return learner, base, tuned


def _with(settings, **changes):
    import dataclasses

    return dataclasses.replace(settings, **changes)


def largest(base, tuned, share):
    """numpy's mask, by name."""
    start, end = arrays(base), arrays(tuned)
    sizes = np.concatenate([np.abs(end[name] - start[name]).ravel() for name in start])
    least = np.sort(sizes)[::-1][round(share * sizes.size) - 1]
    return {name: np.abs(end[name] - start[name]) >= least for name in start}


@pytest.mark.faithful("skill-grafting")
def test_movement_takes_the_largest_changes_of_the_whole_model(tiny):
    learner, base, tuned = pieces(tiny)
    merger = WeightGrafting(share=0.05, mask="movement")
    found = merger.merge(base, [tuned], learner)
    masks, start, end = largest(base, tuned, 0.05), arrays(base), arrays(tuned)
    assert_equal(found, {name: np.where(masks[name], end[name], start[name]) for name in start})
    assert merger.report()["share"] == pytest.approx(0.05, abs=1e-3)
    assert merger.report()["flipped"] == 0


@pytest.mark.faithful("skill-grafting")
def test_random_takes_as_many(tiny):
    learner, base, tuned = pieces(tiny)
    merger = WeightGrafting(share=0.05, mask="random")
    found = merger.merge(base, [tuned], learner)
    moved = {name: found[name] != base[name] for name in base}
    total = sum(mask.numel() for mask in moved.values())
    assert sum(mask.sum().item() for mask in moved.values()) == round(0.05 * total)
    assert merger.report()["share"] == pytest.approx(0.05, abs=1e-3)


def lowest_loss(learner):
    """Minus the loss on all rows, with the model's own weights."""

    def validate():
        with torch.no_grad():
            return -sum(term.mean().item() for term in learner.module(learner.data.batch(range(8)), Step()).values())

    return validate


@pytest.mark.faithful("skill-grafting")
def test_one_step_of_sgd_moves_the_scores_by_the_papers_gradient(tiny):
    """S <- S - rate (1 - 2 g) sigmoid'(S - bias) (dL/dtheta * (theta_1 - theta_0)), at theta = the composed weights."""
    bias, rate, share = 2.0, 5e3, 0.05
    learner, base, tuned = pieces(tiny, steps=1, rate=rate)
    masks = {name: torch.from_numpy(mask).float() for name, mask in largest(base, tuned, share).items()}
    s = torch.sigmoid(torch.tensor(-bias))
    soft = {name: g + (1 - 2 * g) * s for name, g in masks.items()}
    give(learner.model, {name: base[name] + soft[name] * (tuned[name] - base[name]) for name in base})
    learner.differentiate(learner.batch(0), Step())
    gradients = {
        n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in learner.model.weights().items()
    }
    give(learner.model, base)
    expected = {
        name: -rate * (1 - 2 * g) * s * (1 - s) * gradients[name] * (tuned[name] - base[name])
        for name, g in masks.items()
    }
    rounded = {name: (g + (1 - 2 * g) * torch.sigmoid(expected[name] - bias)).round() for name, g in masks.items()}
    flips = sum((rounded[name] != masks[name]).sum().item() for name in masks)
    assert flips > 5, "a step so small tests nothing"
    learner.validate = iter([0.0, 1.0, 1.0]).__next__
    merger = WeightGrafting(share=share, bias=bias, validate_every=1)
    found = merger.merge(base, [tuned], learner)
    wrong = sum(((found[n] != base[n]) != (rounded[n] * (tuned[n] - base[n]) != 0)).sum().item() for n in masks)
    # Entries whose score stands at the very border may fall to either side.
    assert wrong <= 1
    assert merger.report()["flipped"] == pytest.approx(flips / sum(g.sum().item() for g in masks.values()), abs=0.01)


@pytest.mark.faithful("skill-grafting")
def test_learning_lowers_the_loss_and_never_ends_below_the_start(tiny):
    learner, base, tuned = pieces(tiny, steps=20, rate=200.0, size=0.3)
    learner.validate = lowest_loss(learner)
    plain = WeightGrafting(share=0.05, mask="movement").merge(base, [tuned], learner)
    give(learner.model, plain)
    before = learner.validate()
    merger = WeightGrafting(share=0.05, bias=2.0, validate_every=2)
    give(learner.model, merger.merge(base, [tuned], learner))
    assert learner.validate() > before
    assert learner.validate() == pytest.approx(merger.report()["value"], rel=1e-4)
    learner.validate = iter([1.0, *[0.0] * 20]).__next__
    kept = WeightGrafting(share=0.05, bias=2.0, validate_every=2).merge(base, [tuned], learner)
    assert_equal(kept, arrays(plain))


def test_one_model_and_a_share(tiny):
    learner, base, tuned = pieces(tiny)
    with pytest.raises(ValueError, match="one fine-tuned model, not 2"):
        WeightGrafting().merge(base, [tuned, tuned], learner)
    with pytest.raises(ValueError, match="share lies in"):
        WeightGrafting(share=1.0)
