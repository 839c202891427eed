import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from warmstart.data import DataError
from warmstart.engine.outcome import FILE as FINISHED
from warmstart.models import Model, ModelError, fingerprint
from warmstart.models.vit import vit
from warmstart.recipe import RecipeError, load_recipe
from warmstart.run import adapt, run_arms, run_recipe

TINY = {"vit": {"width": 16, "depth": 2, "heads": 2, "patch": 4, "image_size": 8}}
TUNE = {"objective": "cross_entropy", "steps": 6, "batch_size": 16, "precision": "no"}
ONE_STEP = {"model": TINY, "data": "digits", "steps": {"tune": {"train": TUNE}}}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))


def steps(**written) -> dict:
    return {"model": TINY, "data": "digits", "steps": written}


def test_trains_and_measures_on_the_test_rows():
    run = run_recipe(ONE_STEP)
    assert len(run.trace["tune"].losses) == 6
    assert set(run.metrics) == {"accuracy", "macro_f1", "ece"}
    assert len(run.adapted.classes) == 10


@pytest.mark.parametrize(
    ("key", "wrong", "says"),
    [
        ("data", "digitz", "digitz: no such file"),
        ("data", {"world": {"label": "shap"}}, "world: label: no 'shap'"),
        ("model", "zoo/vit-mnits", "no model 'vit-mnits' in the zoo"),
    ],
)
def test_what_cannot_be_loaded_says_where_it_is_written(tmp_path, key, wrong, says):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(ONE_STEP | {key: wrong}))
    for run in (run_recipe, run_arms):
        with pytest.raises((DataError, ModelError)) as found:
            run(file)
        assert str(found.value).startswith(f"{file}: {key}: {says}")
    given = wrong if key == "model" else {"source": wrong}
    with pytest.raises((DataError, ModelError)) as found:
        run_recipe(ONE_STEP, **{key: given})
    assert str(found.value).startswith(says)


def test_a_seed_gives_the_same_run_and_another_seed_another():
    first, again, other = (run_recipe(ONE_STEP, seed=seed) for seed in (0, 0, 1))
    assert fingerprint(first.model) == fingerprint(again.model)
    assert first.trace == again.trace
    assert fingerprint(first.model) != fingerprint(other.model)


def test_a_step_draws_the_same_whatever_stands_before_it():
    alone = run_recipe(ONE_STEP)
    after = run_recipe(steps(first={"train": TUNE}, back={"load": "start"}, tune={"train": TUNE}))
    assert after.trace["tune"].losses == alone.trace["tune"].losses
    assert after.trace["first"].losses != alone.trace["tune"].losses


def test_load_returns_to_the_start_to_a_step_and_to_random_weights():
    start = fingerprint(run_recipe(steps(out={"load": "start"})).model.backbone)
    tuned = run_recipe(ONE_STEP)
    assert fingerprint(tuned.model.backbone) != start
    back = run_recipe(steps(tune={"train": TUNE}, back={"load": "start"}))
    assert fingerprint(back.model.backbone) == start
    assert not back.metrics
    forth = run_recipe(steps(tune={"train": TUNE}, back={"load": "start"}, forth={"load": "@tune"}))
    assert fingerprint(forth.model) == fingerprint(tuned.model)


def test_keep_holds_a_copy_that_later_training_leaves_alone():
    judge = {"probe": {"forgetting": {"before": "@tuned"}}}
    tune = {"train": TUNE, "keep": "tuned"}
    run = run_recipe(steps(tune=tune, same=judge, more={"train": {**TUNE, "learning_rate": 3e-3}}, other=judge))
    assert run.metrics["same.neighbours"] == 0.0
    assert run.metrics["other.neighbours"] > 0.0


def test_a_fitted_predictor_answers_until_the_model_changes():
    fitted = run_recipe(steps(fit={"fit": "nearest_mean"}))
    assert fitted.fitted.predictor.name == "nearest_mean"
    assert fitted.metrics["accuracy"] > 0.5
    changed = run_recipe(steps(fit={"fit": "nearest_mean"}, tune={"train": TUNE}))
    assert changed.fitted is None
    assert "head" in changed.model.attached


def test_shots_are_rows_of_each_class():
    run = run_recipe(steps(tune={"train": {**TUNE, "data": "labeled", "shots": 2}}))
    assert len(run.trace["tune"].losses) == 6
    with pytest.raises(RecipeError, match=r"steps\.tune\.train: class .* rows in training, 4000 asked for"):
        run_recipe(steps(tune={"train": {**TUNE, "shots": 4000}}))


def test_overrides_change_paths():
    run = run_recipe(ONE_STEP, overrides={"tune.steps": 2, "tune.tuner": "linear_head"})
    assert len(run.trace["tune"].losses) == 2
    start = run_recipe(steps(same={"load": "start"})).model
    assert fingerprint(run.model.backbone) == fingerprint(start.backbone)


def test_objectives_are_weighted_by_name():
    both = {**TUNE, "objective": ["cross_entropy", {"cross_entropy": {"label_smoothing": 0.1}}]}
    double = run_recipe(steps(tune={"train": {**both, "weights": {"cross_entropy": 0.5}}}))
    assert double.trace["tune"].losses[0] == pytest.approx(torch.tensor(10.0).log().item(), rel=1e-4)
    with pytest.raises(RecipeError, match="weights names 'info_nce', which is no objective of this step"):
        run_recipe(steps(tune={"train": {**TUNE, "weights": {"info_nce": 1.0}}}))


def test_validation_stops_and_keeps_the_best_weights():
    harmful = {**TUNE, "steps": 40, "learning_rate": 10.0, "validate_every": 2, "patience": 2, "clip": None}
    trace = run_recipe(steps(tune={"train": harmful})).trace["tune"]
    assert trace.stopped
    assert len(trace.losses) < 40
    assert max(value for _, value in trace.validations) < 0


def test_what_an_objective_adds_to_the_rows_is_added_to_those_held_out():
    learn = {"objective": "causal_lm", "steps": 2, "batch_size": 4, "validate_every": 1}
    recipe = {
        "model": {"captioner": {"width": 16, "depth": 1, "decoder_depth": 1, "heads": 2}},
        "data": {"world": {"roles": ["image", "text"], "train": 40, "test": 4}},
        "steps": {"tune": {"train": learn}},
    }
    losses = [-value for _, value in run_recipe(recipe).trace["tune"].validations]
    assert all(1 < loss < 20 for loss in losses)


def test_an_objective_without_its_labels_is_one_line():
    with pytest.raises(RecipeError, match=r"^recipe: steps\.tune\.train: cross_entropy needs labels") as found:
        run_recipe(steps(tune={"train": {**TUNE, "data": "unlabeled"}}))
    assert "\n" not in str(found.value)


def test_a_reference_to_something_else_is_one_line():
    with pytest.raises(RecipeError, match=r"steps\.back\.load: @judge is a report, where a model is needed"):
        run_recipe(steps(tune={"train": TUNE}, judge={"probe": "calibration"}, back={"load": "@judge"}))


def test_a_run_without_model_says_so():
    with pytest.raises(RecipeError, match="no model: write `model:` in the recipe"):
        run_recipe({"data": "digits", "steps": {"tune": {"train": TUNE}}})


def test_the_models_given_are_left_as_they_are():
    model = vit(**TINY["vit"])
    before = fingerprint(model)
    run = run_recipe(ONE_STEP, model=model)
    assert isinstance(run.model, Model)
    assert fingerprint(model) == before


def test_out_holds_the_record_and_what_was_saved(tmp_path):
    recipe = steps(tune={"train": TUNE}, judge={"probe": "calibration"}, end={"save": "model"})
    run = run_recipe(recipe, out=tmp_path / "run", seed=3)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["finished"]
    assert record["seed"] == 3
    assert record["metrics"] == run.metrics
    assert record["steps"]["tune"]["losses"] == run.trace["tune"].losses
    assert record["steps"]["tune"]["seconds"] > 0
    assert {"warmstart", "torch"} <= set(record["versions"])
    from warmstart.adapted import load

    loaded = load(tmp_path / "run" / "model")
    test = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    assert loaded.predict(list(test)) == run.adapted.predict(list(test))


def test_a_zoo_recipe_leaves_the_model_and_its_record_alone(tmp_path):
    from warmstart.recipe import Recipe

    recipe = Recipe(steps(tune={"train": TUNE}, end={"save": "zoo/tiny"}), "zoo/tiny")
    run_recipe(recipe, out=tmp_path)
    assert {"model.safetensors", "config.json", "run.json"} <= {path.name for path in (tmp_path / "tiny").iterdir()}
    assert not (tmp_path / "tiny" / "steps").exists()
    run_recipe(recipe)
    assert (Path(os.environ["WARMSTART_CACHE"]) / "zoo" / "tiny" / "model.safetensors").exists()


def test_finished_steps_are_not_repeated(tmp_path, monkeypatch):
    recipe = steps(tune={"train": TUNE}, fit={"fit": "knn"}, judge={"probe": "calibration"})
    first = run_recipe(recipe, out=tmp_path)
    from warmstart.engine import loop
    from warmstart.engine.readout import fit_predictor  # noqa: F401

    monkeypatch.setattr(loop, "train", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr("warmstart.verbs.fit.fit_predictor", lambda *a, **k: pytest.fail("fitted again"))
    again = run_recipe(recipe, out=tmp_path)
    assert again.metrics == first.metrics
    assert again.trace == first.trace
    assert fingerprint(again.model) == fingerprint(first.model)


def test_a_folder_of_another_run_is_refused(tmp_path):
    run_recipe(ONE_STEP, out=tmp_path)
    with pytest.raises(RecipeError, match="holds a run with another recipe and seed; name another folder"):
        run_recipe(ONE_STEP, out=tmp_path, seed=1, overrides={"tune.steps": 3})


def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path):
    recipe = steps(tune={"train": {**TUNE, "steps": 12, "checkpoint_every": 4}})
    whole = run_recipe(recipe)

    class Killed(Exception):
        pass

    def die(event):
        if event.done == 10:
            raise Killed

    with pytest.raises(Killed):
        run_recipe(recipe, out=tmp_path, on_progress=die)
    seen = []
    resumed = run_recipe(recipe, out=tmp_path, on_progress=lambda event: seen.append(event.done))
    assert 9 in seen
    assert 8 not in seen
    assert resumed.trace["tune"].losses == whole.trace["tune"].losses
    assert fingerprint(resumed.model) == fingerprint(whole.model)


def test_adapt_is_a_recipe_as_a_method():
    from warmstart.data import load_data

    data = load_data("digits")
    recipe = load_recipe(steps(tune={"train": TUNE}))
    adapted = adapt(recipe, vit(**TINY["vit"]), data.train.take(range(40)), seed=1)
    assert adapted.probabilities(data.test.take(range(3))).shape == (3, 10)
    with pytest.raises(RecipeError, match="no classifier is left at its end"):
        adapt(load_recipe(steps(tune={"load": "start"})), vit(**TINY["vit"]), data.train.take(range(40)))


SLOW_RECIPE = steps(
    first={"train": {**TUNE, "steps": 60, "checkpoint_every": 7, "batch_size": 8}},
    second={"train": {**TUNE, "tuner": "linear_head", "steps": 40, "checkpoint_every": 9}},
    third={"train": {**TUNE, "steps": 60, "checkpoint_every": 7}},
    end={"save": "model"},
)


def _command(folder: Path, recipe: dict, *launcher: str) -> list[str]:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return [sys.executable, *launcher, "-m", "warmstart", "run", str(path), "--out", str(folder / "run")]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


# Forked children start without importing everything again, so that a kill hits the run and not the imports.
KILLER = """
import json, os, random, signal, sys, time
from warmstart.run import run_recipe
from warmstart.models.vit import vit

recipe, out = sys.argv[1:]
rng, kills, moment = random.Random(0), 0, 0.4
vit(width=8, depth=1, heads=1)  # what is imported late is imported here
while True:
    child = os.fork()
    if child == 0:
        run_recipe(recipe, out=out)
        os._exit(0)
    if kills < 10:
        time.sleep(rng.uniform(0, moment))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    done = len(list(__import__("pathlib").Path(out).glob("steps/*/finished.safetensors")))
    print(kills, "killed" if os.WIFSIGNALED(status) else "ended", done, flush=True)
    if not os.WIFSIGNALED(status):
        break
    kills += 1
    moment *= 1.3
"""


@pytest.mark.slow
def test_killed_at_ten_random_moments_ends_with_the_same_weights(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (_command(tmp_path / name, SLOW_RECIPE) for name in ("whole", "killed"))
    subprocess.run(whole, env=_environment(), check=True, capture_output=True)
    arguments = [sys.executable, "-c", KILLER, killed[4], str(tmp_path / "killed" / "run")]
    done = subprocess.run(arguments, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("killed") >= 5, done.stdout
    outputs = [tmp_path / name / "run" for name in ("whole", "killed")]
    for file in ("model/model.safetensors", "model/attached.safetensors", f"steps/1-first/{FINISHED}"):
        assert (outputs[0] / file).read_bytes() == (outputs[1] / file).read_bytes(), file
    records = [json.loads((out / "run.json").read_text()) for out in outputs]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["steps"]["third"]["losses"] == records[1]["steps"]["third"]["losses"]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    recipe = steps(
        first={"train": {**TUNE, "steps": 30}},
        head={"train": {**TUNE, "tuner": "linear_head", "steps": 10, "accumulate": 2}},
        second={"train": {**TUNE, "steps": 20, "accumulate": 2}},
        fit={"fit": "ridge"},
        judge={"probe": "forgetting"},
        end={"save": "model"},
    )
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1"]
    launch += ["--mixed_precision=no", "--dynamo_backend=no", "--module"]
    found = []
    for name, launcher in {"one": [], "two": launch}.items():
        folder = tmp_path / name
        folder.mkdir()
        command = _command(folder, recipe)
        if launcher:
            command = [command[0], *launcher, *command[2:]]
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("accuracy") == 1
        found.append(json.loads((folder / "run" / "run.json").read_text()))
    one, two = found
    for step in ("first", "head", "second"):
        assert two["steps"][step]["losses"] == pytest.approx(one["steps"][step]["losses"], abs=1e-4)
    assert two["metrics"]["accuracy"] == pytest.approx(one["metrics"]["accuracy"], abs=0.02)
