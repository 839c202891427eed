"""An update that trains less costs less, and one that trains the same costs the same."""

import pytest
from tiny_models import tiny, tiny_rows  # noqa: F401

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.models import count
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.probes.update_cost_share import UpdateCostShare
from warmstart.tuners.freeze import Freeze
from warmstart.tuners.full import Full
from warmstart.updates.half_fine_tuning import HalfFineTuning


def shares(start, tuner, updates=None):
    model = start
    tuner.apply(model)
    rows = tiny_rows("text")
    probe = UpdateCostShare(CrossEntropy(), updates, against=Full(), batch_size=8, rounds=2, repeats=1)
    return model, probe.measure(Cast(model, start=start), Splits(rows, rows))


@pytest.mark.faithful("telly")
def test_shares_are_of_the_other_tuners_update(tiny):  # noqa: F811
    model, report = shares(tiny("bert"), Freeze(top=1))
    head = 2 * 16 + 2
    mine = count(list(model.tower().blocks[2].parameters())) + head
    every = count([p for _, p in model.tower().named_parameters()]) + head
    assert report["trainable_share"] == pytest.approx(mine / every)
    assert report["activation_share"] < 0.7
    assert report["step_share"] == pytest.approx(report["step_milliseconds"] / report["full_milliseconds"])
    assert "head" not in model.attached


def test_the_same_tuner_costs_the_same(tiny):  # noqa: F811
    _, report = shares(tiny("bert"), Full())
    assert report["trainable_share"] == report["activation_share"] == 1


@pytest.mark.faithful("finetuning-guide")
def test_in_half_fine_tuning_half_of_the_matrices_change(tiny):  # noqa: F811
    model, report = shares(tiny("bert"), Full(), [HalfFineTuning()])
    every = count([p for _, p in model.tower().named_parameters()]) + 2 * 16 + 2
    parts = model.tower().parts("block.*.attention.*", "block.*.ffn.*")
    weights = {part.name: count(list(part.module.parameters())) for part in parts}
    attention = sum(size for name, size in weights.items() if "attention" in name) / 2
    # Of the two feed-forward matrices one rests, and they differ by their biases.
    least = sum(min(weights[f"block.{i}.ffn.in"], weights[f"block.{i}.ffn.out"]) for i in range(3))
    most = sum(max(weights[f"block.{i}.ffn.in"], weights[f"block.{i}.ffn.out"]) for i in range(3))
    assert (every - attention - most) / every <= report["trainable_share"] <= (every - attention - least) / every


def test_refuses_no_rounds():
    with pytest.raises(ValueError, match="1 or more"):
        UpdateCostShare(CrossEntropy(), rounds=0)
