"""What holds for every architecture that is built here."""

import copy

import numpy as np
import pytest
import torch
from tiny_builds import BUILDS, every_modality, tiny_build

from warmstart import ingredients
from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.loop import train
from warmstart.engine.rows import Rows
from warmstart.engine.saving import load_saved, save_model
from warmstart.models import ModelError, fingerprint, load_model
from warmstart.models.builders import builder_names, check_builder
from warmstart.objectives.cross_entropy import CrossEntropy

every_builder = pytest.mark.parametrize("name", BUILDS)


def readers(model) -> list[str]:
    return [name for name in model.towers if name != "decoder"]


@torch.no_grad()
def encoded(model) -> dict:
    batch = Rows(model, every_modality()).batch(np.arange(8))
    return {name: model.encode(batch, name).pooled for name in readers(model)}


def built_tuner(spec: dict):
    return ingredients.build("tuners", spec)


def test_builders_are_the_files_of_their_own_name():
    assert {name.partition(" ")[0] for name in BUILDS} <= set(builder_names())


@every_builder
def test_the_seed_draws_the_weights(name):
    one, same, other = (fingerprint(tiny_build(name, seed)) for seed in (0, 0, 1))
    assert one == same != other


@every_builder
def test_every_tower_gives_each_row_a_vector_of_its_own(name):
    model = tiny_build(name)
    for pooled in encoded(model).values():
        assert pooled.shape[0] == 8
        assert pooled.isfinite().all()
        assert pooled.std(0).max() > 1e-3


@every_builder
@pytest.mark.parametrize("load", [load_model, lambda folder: load_saved(folder, built_tuner)], ids=["plain", "saved"])
def test_is_saved_and_loaded_with_the_same_outputs(tmp_path, name, load):
    model = tiny_build(name)
    save_model(model, tmp_path)
    again = load(str(tmp_path))
    for tower, expected in encoded(model).items():
        torch.testing.assert_close(encoded(again)[tower], expected)
    assert again.weights().keys() == model.weights().keys()


@every_builder
def test_random_weights_of_the_same_architecture(tmp_path, name):
    model = tiny_build(name)
    save_model(model, tmp_path)
    fresh = load_model(str(tmp_path), pretrained=False, seed=1)
    assert {key: w.shape for key, w in fresh.weights().items()} == {key: w.shape for key, w in model.weights().items()}
    assert fingerprint(fresh) != fingerprint(model)


@every_builder
def test_a_copy_is_alike_and_apart(name):
    model = tiny_build(name)
    twin = copy.deepcopy(model)
    before = encoded(model)
    for tower, expected in before.items():
        assert torch.equal(encoded(twin)[tower], expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    for tower, expected in before.items():
        assert torch.equal(encoded(model)[tower], expected)
        assert not torch.equal(encoded(twin)[tower], expected)


@every_builder
@pytest.mark.parametrize("tuner", ["full", "lora", "scale_shift"])
def test_a_tuner_trains_a_step_is_saved_and_folds(tmp_path, name, tuner):
    model, tuner = tiny_build(name), built_tuner(tuner)
    rows = Rows(model, every_modality())
    settings = Settings(steps=1, batch_size=4, learning_rate=1e-2, precision="no")
    before = {key: weight.detach().clone() for key, weight in model.weights().items()}
    train(Learner(Cast(model), [(CrossEntropy(), 1.0)], tuner, rows, settings))
    assert any(not torch.equal(weight, before.get(key, weight * 0)) for key, weight in model.weights().items())
    model.eval()
    after = encoded(model)
    save_model(model, tmp_path)
    for tower, expected in encoded(load_saved(tmp_path, built_tuner)).items():
        torch.testing.assert_close(expected, after[tower])
    tuner.fold(model)
    for tower, expected in encoded(model).items():
        torch.testing.assert_close(expected, after[tower], rtol=1e-4, atol=1e-5)


@every_builder
def test_parts_are_known_by_name(name):
    """A convolutional tower has blocks alone."""
    model = tiny_build(name)
    convolutional = [one for one, tower in model.towers.items() if not tower.layout.parts]
    assert convolutional == (["image"] if "cnn" in name else [])
    for tower in model.towers.values():
        assert tower.parts("block.0")[0].module is tower.blocks[0]
        if tower.layout.parts:
            assert len(tower.parts("block.*.attention.query")) == tower.depth
            assert len(tower.parts("block.*.ffn.out")) == tower.depth


def test_arguments_are_checked_by_name():
    with pytest.raises(ModelError, match="did you mean 'width'"):
        check_builder({"transformer_lm": {"widht": 8}})
    with pytest.raises(ModelError, match="no builder 'transformer'"):
        check_builder({"transformer": {}})


def test_what_no_tower_holds_is_beside_them():
    def names(name):
        return {key for key, _ in tiny_build(name).beside()}

    assert names("dual_encoder") == {"logit_scale"}
    assert "cls.predictions.transform.dense.weight" in names("text_encoder")
    assert all(names(name) == set() for name in ("vit", "cnn", "transformer_lm", "encoder_decoder", "captioner"))


def test_what_is_beside_a_narrowed_models_tower_stays_the_same():
    model = tiny_build("dual_encoder")
    del model.towers["text"]
    assert {key for key, _ in copy.deepcopy(model).beside()} == {"logit_scale"}
