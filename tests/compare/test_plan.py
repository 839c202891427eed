import json

import pytest

from warmstart.compare.methods import Method, resolve
from warmstart.compare.plan import FILE, Plan, Trial, make_plan
from warmstart.compare.request import Request
from warmstart.compare.stage import Stage
from warmstart.data import DataError, load_data


@pytest.fixture(scope="module")
def stage(bert, topics):
    def make(shots=(1, 4), seeds=2, budget=0.5, data=topics):
        request = Request((bert,), str(data), {}, shots, None, seeds, budget, "accuracy")
        return Stage(bert, load_data(data), request)

    return make


def plan_of(stage, *names, known=None):
    return make_plan(stage.request, [m for m in resolve(names) if m.kind != "floor"], [stage], known)


def trial(**changes):
    return Trial(**{"method": "gda", "kind": "predictor", "model": "minilm", "shots": 1, "seed": 0, "config": {},
                    "estimate": 1.0} | changes)  # fmt: skip


def test_floors_come_first_then_predictors_then_tuners(stage):
    plan = make_plan(stage().request, resolve(["linear_head", "nearest_mean"]), [stage()])
    kinds = [trial.kind for trial in plan.trials]
    assert kinds == sorted(kinds, key=["floor", "predictor", "tuner"].index)
    assert {trial.method for trial in plan.trials if trial.kind == "floor"} == {
        "majority", "raw_logistic", "random_backbone"
    }  # fmt: skip


def test_every_method_has_a_trial_for_each_shots_and_seed(stage):
    plan = plan_of(stage(), "nearest_mean", "ridge")
    assert {(t.method, t.shots, t.seed) for t in plan.trials} == {
        (method, shots, seed) for method in ("nearest_mean", "ridge") for shots in (1, 4) for seed in (0, 1)
    }


def test_one_label_a_class_leaves_the_stated_defaults(stage):
    configs = {t.shots: t.config for t in plan_of(stage(), "nearest_mean").trials}
    assert configs[1] == {"folds": 0}
    assert configs[4]["folds"] == 4


def test_a_smaller_budget_gives_fewer_steps(stage):
    tight, roomy = (plan_of(stage(shots=(4,), seeds=1, budget=b), "full").trials[0].config for b in (0.02, 60))
    assert tight["steps"] < roomy["steps"]
    assert (tight["cut"], tight["holdout"]) == (True, 0)
    assert not roomy["cut"]
    assert roomy["holdout"] > 0


def test_a_budget_without_room_for_a_search_takes_the_defaults(stage):
    assert plan_of(stage(shots=(4,), budget=1e-6), "logistic").trials[0].config == {"folds": 0}


def test_methods_that_do_not_apply_are_left_out_with_the_reason(bert, tmp_path):
    from toys import write_csv

    rows = [(f"{word} {i}", str(i % 2)) for i, word in enumerate(["cat", "dog", "sun"] * 10)]
    data = write_csv(tmp_path / "numbers.csv", rows)
    stage = Stage(bert, load_data(data), Request((bert,), str(data), {}, (1,), None, 1, 1.0, "accuracy"))
    plan = plan_of(stage, "zero_shot", "nearest_mean")
    assert [t.method for t in plan.trials] == ["nearest_mean"]
    assert [s["method"] for s in plan.skipped] == ["zero_shot"]
    assert plan.skipped[0]["reason"]


def test_more_methods_leave_the_known_trials_as_they_are(stage):
    first = plan_of(stage(), "nearest_mean")
    both = plan_of(stage(), "ridge", "nearest_mean", known=first)
    assert [t for t in both.trials if t.method == "nearest_mean"] == first.trials
    assert {t.method for t in both.trials} == {"nearest_mean", "ridge"}


def test_a_method_that_breaks_while_it_is_timed_is_still_planned(stage, monkeypatch):
    from warmstart.predictors.ridge import Ridge

    def broken(self, *arguments):
        raise RuntimeError("broken")

    monkeypatch.setattr(Ridge, "fit", broken)
    assert len(plan_of(stage(), "ridge").trials) == 4


def test_survives_its_file(stage, tmp_path):
    plan = plan_of(stage(), "nearest_mean")
    plan.content = {"train": [3, "ab"]}
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan


@pytest.mark.parametrize("content", ["", "{}", "[]", "{", '{"request": 1}', json.dumps({"trials": [{}]})])
def test_a_broken_file_is_said_in_one_line(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(DataError, match="not a plan"):
        Plan.read(tmp_path)


def test_ids_are_short_file_names_that_tell_trials_apart():
    long = "timm:mobilenetv2_100?weights=/" + "very/" * 60 + "long.safetensors"
    changes = [{}, {"seed": 1}, {"shots": "all"}, {"model": "a/b"}, {"model": "a:b"}, {"model": long}]
    changes += [{"model": long + "2"}, {"method": "gda-x", "model": "y"}, {"method": "gda", "model": "x-y"}]
    ids = [trial(**change).id for change in changes]
    assert len(set(ids)) == len(ids)
    assert all(len(name) < 120 and "/" not in name and ":" not in name for name in ids)


def test_unknown_methods_are_answered_with_the_nearest():
    with pytest.raises(DataError, match="did you mean 'nearest_mean'"):
        resolve(["nearest_means"])


def test_all_stands_for_every_predictor_and_tuner_that_is_one_by_its_name():
    names = {m.name for m in resolve(["all"])}
    assert {"gda", "logistic", "zero_shot", "lora", "full", "scale_shift"} <= names
    assert "together" not in names
    with pytest.raises(DataError, match="together needs tuners: write a recipe"):
        resolve(["together"])


def test_no_methods_at_all_is_an_error():
    with pytest.raises(DataError, match="no methods"):
        resolve([])


def test_a_recipe_is_a_method(monkeypatch):
    monkeypatch.setattr("warmstart.recipe.recipe_names", lambda: ["some-recipe"])
    assert Method("some-recipe", "recipe") in resolve(["some-recipe"])
