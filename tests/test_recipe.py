import copy

import pytest

from warmstart.recipe import Recipe, RecipeError, find_recipe, load_recipe, recipe_names, recipe_summary
from warmstart.show import show
from warmstart.strict_yaml import YamlError, parse

DISTIL = """\
# Further pretraining, then back to the start.
card: self-distill-further
model: minilm
data: digits
steps:
  further: {train: {objective: cross_entropy, data: unlabeled, steps: 30}, keep: teacher}
  restart: {load: start}
  tune: {train: {objective: cross_entropy, tuner: full, learning_rate: 1e-3, precision: no}}
  judge: {probe: {forgetting: {before: "@teacher"}}}
arms:
  tune_only: {further: null, judge: null}
claim: [method.accuracy > tune_only.accuracy]
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def mistake(path) -> str:
    with pytest.raises(RecipeError) as found:
        load_recipe(path)
    line = str(found.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def test_reads_steps_in_order_with_their_verbs(write):
    recipe = load_recipe(write(DISTIL))
    assert [(name, step.verb, step.keep) for name, step in recipe.steps.items()] == [
        ("further", "train", "teacher"),
        ("restart", "load", None),
        ("tune", "train", None),
        ("judge", "probe", None),
    ]
    assert recipe.steps["restart"].arguments == {"source": "start"}
    assert recipe.steps["tune"].arguments["learning_rate"] == 1e-3
    assert recipe.steps["tune"].arguments["precision"] == "no"
    assert recipe.content.seeds == 5
    assert recipe.wanted == {"teacher"}


MISTAKES = {
    ("data: digits", "dats: digits"): "dats: no such key; did you mean 'data'?",
    ("model: minilm", "model: {vti: {width: 3}}"): "model: no builder 'vti'; did you mean 'vit'?",
    ("model: minilm", "model: {vit: {widht: 3}}"): "model: builder vit has no argument 'widht'; did you mean 'width'?",
    ("model: minilm", "model: [minilm]"): "model: ",
    ("data: digits", "data: {source: digits, lable: y}"): "data.lable: data has no parameter 'lable'; did you mean",
    ("{load: start}", "{laod: start}"): "steps.restart.laod: no verb 'laod'; did you mean 'load'?",
    ("{load: start}", "{load: start, save: x}"): "steps.restart: a step has one verb",
    ("{load: start}", "{load: start"): "line ",
    ("{load: start}", "{load: {}}"): "steps.restart.load: load needs 'source'",
    ("{load: start}", "7"): "steps.restart: ",
    (
        "cross_entropy, data",
        "cross_entrpy, data",
    ): "steps.further.train.objective: no objective 'cross_entrpy'; did you",
    ("tuner: full", "tunr: full"): "steps.tune.train.tunr: train has no parameter 'tunr'; did you mean 'tuner'?",
    ("tuner: full", "tuner: {full: {rank: 3}}"): "steps.tune.train.tuner.full.rank: tuner full has no parameter",
    ("tuner: full", "tuner: [[full]]"): "steps.tune.train.tuner: a tuner is written",
    ("steps: 30", "steps: many"): "steps.further.train.steps: train: steps is 'many': ",
    ("steps: 30", "steps: -30"): "steps.further.train.steps: is -30; it is at least 0",
    ("steps: 30", "batch_size: 0"): "steps.further.train.batch_size: is 0; it is at least 1",
    ("data: unlabeled", "data: unlabelled"): "steps.further.train.data: no 'unlabelled'; did you mean 'unlabeled'?",
    ("{load: start}", "{load: strat}"): "steps.restart.load.source: no 'strat'; did you mean 'start'?; write start, ra",
    ("@teacher", "@techer"): "steps.judge.probe.probe.forgetting.before: @techer is no earlier step; did you mean",
    ("keep: teacher", "keep: restart"): "steps.restart: the name 'restart' is taken",
    ("keep: teacher", "keep: the teacher"): "steps.further.keep: keep takes a name",
    (
        "{further: null, judge: null}",
        "{furthr: null}",
    ): "arms.tune_only.furthr: no step 'furthr'; did you mean 'further'",
    (
        "{further: null, judge: null}",
        "{further: null}",
    ): "arms.tune_only: steps.judge.probe.probe.forgetting.before: @te",
    ("{further: null, judge: null}", "{}"): "arms.tune_only: is the same as method",
    ("> tune_only.accuracy", "> tune_onyl.accuracy"): "claim.0: no arm 'tune_onyl'; did you mean 'tune_only'?",
    ("method.accuracy >", "method.accuracy"): "claim.0: 'method.accuracy tune_only.accuracy' is no assertion",
    ("card: self", "card: slef"): "card: no card 'slef-distill-further'; did you mean 'self-distill-further'?",
    ("  tune_only:", "  method: {tune.steps: 3}\n  tune_only:"): "arms.method: is the recipe itself; call the arm",
    ("  tune_only:", "  4 steps: {tune.steps: 3}\n  tune_only:"): "arms.4 steps: is no name: use letters",
    ("claim:", "mechanism: [method.x > 1 > 2]\nclaim:"): "mechanism.0: 'method.x > 1 > 2' is no assertion",
    ("claim:", "grid: {tune.steps: [1, 2]}\nclaim:"): "grid: needs `across: PROBE` beside it",
    ("claim:", "across: forgetting\nclaim:"): "across: needs `grid: {path: [values]}` beside it",
    ("claim:", "grid: {tune.stpes: [1]}\nacross: forgetting\nclaim:"): "grid: steps.tune.train.stpes: train has no",
    ("claim:", "grid: {tune.steps: []}\nacross: forgetting\nclaim:"): "grid.tune.steps: is empty: write the values",
    ("claim:", "grid: {tune.steps: [1]}\nacross: forgeting\nclaim:"): "across: no probe 'forgeting'; did you mean",
    ("claim:", "real: {data: mnist5k, tun.steps: 3}\nclaim:"): "real.tun.steps: no step 'tun'; did you mean 'tune'?",
    ("claim:", "real: {mnist: mnist5k}\nclaim:"): "real.mnist: write {path: value}, or {NAME: {path: value}}",
    ("claim:", "real: {a: {data: mnist5k}}\nreason: {b: small}\nclaim:"): "reason.b: no such run; runs: world, a",
    ("claim:", "budget: {equal: time}\nclaim:"): "budget.equal: Input should be 'steps'",
    ("claim:", "budget: {equal: steps, arms: [tune]}\nclaim:"): "budget.arms.0: no arm 'tune'; did you mean",
    ("card: self", "steps: {a: {load: start}}\ncard: self"): "line 6: 'steps' is written twice",
}


@pytest.mark.parametrize(("change", "says"), MISTAKES.items(), ids=[new for _, new in MISTAKES])
def test_each_mistake_is_one_line_with_file_key_and_remedy(write, change, says):
    load_recipe(write(DISTIL))
    assert mistake(write(DISTIL.replace(*change, 1)))[: len(says)] == says


def test_a_recipe_that_leads_back_to_itself_says_so(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text(f"steps: {{a: {{load: start}}, b: {{recipe: {other}}}}}\n")
    other.write_text(f"steps: {{c: {{recipe: {one}}}}}\n")
    assert mistake(one) == (
        f"steps.b.recipe: {other}: steps.c.recipe: {one} is a step of itself: leave it out, or `repeat` its steps"
    )


def test_an_arm_that_leads_back_says_so(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text(f"steps: {{b: {{recipe: {{name: {other}}}}}}}\narms: {{round: {{b.name: {one}}}}}\n")
    other.write_text("steps: {c: {load: start}}\n")
    assert mistake(one).startswith(f"arms.round: steps.b.recipe: {one} is a step of itself")


def test_missing_steps_are_named(write):
    assert mistake(write("model: minilm\n")) == "steps: is missing"


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match=r"no recipe 'head-than-all'; did you mean 'head-then-all'\?"):
        find_recipe("head-than-all")


def test_an_arm_changes_paths_and_nothing_else(write):
    recipe = load_recipe(write(DISTIL))
    before = copy.deepcopy(recipe.document)
    arm = recipe.arm("tune_only")
    assert list(arm.steps) == ["restart", "tune"]
    assert recipe.document == before


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("tune.tuner", "linear_head", {"tuner": "linear_head"}),
        ("tune.steps", 7, {"steps": 7}),
        ("tune.objective.cross_entropy.label_smoothing", 0, {"objective": {"cross_entropy": {"label_smoothing": 0}}}),
    ],
)
def test_overrides_reach_into_arguments(write, path, value, found):
    changed = load_recipe(write(DISTIL)).changed({path: value})
    assert found.items() <= changed.steps["tune"].arguments.items()


def test_overrides_reach_into_model_and_data(write):
    changed = load_recipe(write(DISTIL)).changed({"data.test_share": 0.5, "model": {"vit": {"depth": 1}}})
    assert changed.content.data == {"source": "digits", "test_share": 0.5}
    assert changed.changed({"model.vit.depth": 2}).content.model == {"vit": {"depth": 2}}
    with pytest.raises(RecipeError, match=r"no 'vti' there; did you mean 'vit'\?"):
        changed.changed({"model.vti.depth": 2})


@pytest.mark.parametrize("path", ["tune.objective.info_nce.temperature", "tune.tunr", "nothing", "restart.source.x"])
def test_overrides_that_match_nothing_are_refused(write, path):
    with pytest.raises(RecipeError, match=r"mine\.yaml: "):
        load_recipe(write(DISTIL)).changed({path: 1})


def test_identical_arms_are_refused(write):
    text = DISTIL.replace("claim:", "  again: {further: null, judge: null}\nclaim:")
    assert mistake(write(text)) == "arms.again: is the same as tune_only"


def test_no_is_a_word_and_1e_3_a_number():
    assert parse("{a: no, b: 1e-3, c: true, d: 10, e: 2024-01-01, f: .5, g: off}") == {
        "a": "no",
        "b": 1e-3,
        "c": True,
        "d": 10,
        "e": "2024-01-01",
        "f": 0.5,
        "g": "off",
    }


def test_yaml_tags_that_make_objects_are_refused():
    with pytest.raises(YamlError):
        parse("!!python/object/apply:os.system [echo]")


@pytest.mark.parametrize("name", recipe_names())
def test_packaged_recipes_are_complete_and_shown_ones_run_alike(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe_summary(name)
    shown = tmp_path / "shown.yaml"
    shown.write_text(show(name, tmp_path))
    again = load_recipe(shown)
    assert list(again.steps) == list(recipe.steps)
    assert show(str(shown), tmp_path) == show(name, tmp_path)


def test_show_fills_in_every_default(write):
    text = show(str(write(DISTIL)))
    tune = parse(text)["steps"]["tune"]["train"]
    assert tune["objective"]["cross_entropy"]["label_smoothing"] == 0.0
    assert tune["batch_size"] == 32
    assert parse(text)["steps"]["judge"]["probe"]["forgetting"]["k"] == 10


def test_show_of_an_ingredient_ends_with_a_line_that_can_be_pasted():
    text = show("linear_probe")
    assert "shots: int | None = None" in text
    step = parse(text.splitlines()[-1])
    assert step["probe"]["linear_probe"]["predictor"]["logistic"]["C"] > 0
    assert Recipe({"steps": {"a": step}}).steps["a"].verb == "probe"


def test_show_of_nothing_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'logistic'"):
        show("logistik")
