import pytest

from warmstart.probes.factorial_grid import FactorialGrid

PATH = "tune.tuner"


def run(tuner, trainable, accuracy):
    return {"changes": {PATH: tuner}, "metrics": {"cost.trainable": trainable, "accuracy": accuracy}}


# Written in no order: budgets order the runs.
TABLE = [
    run({"adapter": {"rank": 4}}, 400, 0.9),
    run({"adapter": {"rank": 1}}, 100, 0.6),
    run({"soft_prompt": {"length": 1}}, 90, 0.5),
    run({"soft_prompt": {"length": 4}}, 400, 0.65),
    run("linear_head", 10, 0.4),
]


@pytest.mark.faithful("petl-ast", "unified-petl")
def test_methods_are_compared_at_equal_budgets():
    report = FactorialGrid(PATH).across(TABLE)
    assert report["adapter"] == pytest.approx(0.75)
    assert report["adapter_over_soft_prompt_at_1"] == pytest.approx(0.1)
    assert report["adapter_over_soft_prompt_at_2"] == pytest.approx(0.25)
    assert report["adapter_over_soft_prompt"] == pytest.approx(0.175)
    assert report["adapter_over_soft_prompt_growth"] == pytest.approx(0.15)
    assert report["soft_prompt_over_adapter_growth"] == pytest.approx(-0.15)
    assert report["budget_spread"] == pytest.approx(100 / 90 - 1)


def test_a_method_of_one_run_stands_at_every_budget():
    report = FactorialGrid(PATH).across(TABLE)
    assert report["linear_head"] == pytest.approx(0.4)
    assert report["adapter_over_linear_head"] == pytest.approx(0.35)
    assert report["adapter_over_linear_head_growth"] == pytest.approx(0.3)


def test_runs_of_one_method_and_budget_are_averaged():
    other = {"changes": {PATH: "linear_head", "data.seed": 1}, "metrics": {"cost.trainable": 10, "accuracy": 0.6}}
    assert FactorialGrid(PATH).across([*TABLE, other])["linear_head"] == pytest.approx(0.5)


def test_levels_that_are_no_ingredients_are_named_by_their_value():
    runs = [run(rate, 1, accuracy) for rate, accuracy in [(0.1, 0.2), (0.5, 0.7)]]
    assert FactorialGrid(PATH).across(runs)["0.5_over_0.1"] == pytest.approx(0.5)


def test_unequal_grids_and_missing_metrics_are_one_line():
    with pytest.raises(ValueError, match="soft_prompt has 2 budgets where others have 3"):
        FactorialGrid(PATH).across([*TABLE, run({"adapter": {"rank": 2}}, 200, 0.7)])
    with pytest.raises(LookupError, match="no metric 'recall'; it has: cost.trainable, accuracy"):
        FactorialGrid(PATH, metric="recall").across(TABLE)
    with pytest.raises(LookupError, match="no path 'tune.steps' in the grid; it has: tune.tuner"):
        FactorialGrid("tune.steps").across(TABLE)
