"""The verb `fold`: a tuner's change becomes plain weights, so that the model can be merged."""

import pytest
import torch
from test_run import TUNE, steps

from warmstart.models.wrapped import split_state
from warmstart.recipe import RecipeError
from warmstart.run import run_recipe

SPARSE = {**TUNE, "steps": 3, "tuner": {"sparse_update": {"by": "random"}}}


def test_leaves_the_plain_architecture_and_the_answers():
    apart = run_recipe(steps(tune={"train": SPARSE}))
    folded = run_recipe(steps(tune={"train": SPARSE}, plain={"fold": {}}))
    assert split_state(apart.model.backbone)[1]
    assert not split_state(folded.model.backbone)[1]
    assert not [change for change in folded.model.changes if "tune" in change]
    assert folded.metrics["accuracy"] == apart.metrics["accuracy"]


def test_folded_models_merge():
    run = run_recipe(
        steps(
            tune={"train": SPARSE},
            plain={"fold": {}},
            merged={"merge": {"merger": {"task_vectors": {"scale": 1.0}}, "models": ["@plain"]}},
        )
    )
    alone = run_recipe(steps(tune={"train": SPARSE}, plain={"fold": {}}))
    for name, parameter in run.model.backbone.named_parameters():
        torch.testing.assert_close(parameter, alone.model.backbone.get_parameter(name), rtol=1e-5, atol=1e-6)


def test_a_change_without_plain_weights_is_one_line():
    side = {**TUNE, "steps": 1, "tuner": "side_network"}
    with pytest.raises(RecipeError, match="side_network adds has no plain weights"):
        run_recipe(steps(tune={"train": side}, plain={"fold": {}}))
