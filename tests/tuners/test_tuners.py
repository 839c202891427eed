"""What holds for every tuner on every architecture that it fits."""

import numpy as np
import pytest
import torch
from tiny_models import build_tuner, tiny_rows

from warmstart import ingredients
from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.loop import train
from warmstart.engine.rows import Rows
from warmstart.models import fingerprint
from warmstart.models.tower import CACHED_STATE
from warmstart.objectives.cross_entropy import CrossEntropy

TUNERS = ingredients.names("tuners")
FAMILIES = ("bert", "gpt2", "vit", "clip", "mobilenet")

every_tuner = pytest.mark.parametrize("name", TUNERS)
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def _where_it_fits(request, tiny):
    """A tuner that says in words why it does not apply to a family is not tried on it."""
    given = getattr(request.node, "callspec", None)
    if given is not None and "family" in given.params:
        reason = ingredients.find("tuners", given.params["name"]).unfit(tiny(given.params["family"]))
        if reason is not None:
            pytest.skip(f"{given.params['name']}: {reason}")


def learner_for(model, tuner, steps: int = 2, rate: float = 1e-2) -> Learner:
    settings = Settings(steps=steps, batch_size=4, learning_rate=rate, precision="no", seed=1)
    rows = Rows(model, tiny_rows(model.tower().modality))
    torch.manual_seed(0)
    return Learner(Cast(model), [(CrossEntropy(), 1.0)], tuner, rows, settings)


def trained(model, tuner, steps: int = 2, rate: float = 1e-2):
    learner = learner_for(model, tuner, steps, rate)
    return learner, train(learner)


@torch.no_grad()
def features(model) -> torch.Tensor:
    rows = Rows(model, tiny_rows(model.tower().modality))
    return model.eval().encode(rows.batch(np.arange(8))).pooled


@every_tuner
@every_family
def test_only_what_trains_changes(tiny, name, family):
    # The head starts at zero, and so may what a tuner adds: gradients are behind both after two updates.
    learner = learner_for(tiny(family), build_tuner(name), steps=3)
    model = learner.cast.model
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    trains = {key for key, _ in model.trainable()}
    train(learner)
    changed = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert changed <= trains
    assert "attached.head.weight" in changed
    read = {key for key, parameter in model.trainable() if parameter.grad is not None}
    # A key's bias moves no attention.
    assert {key for key in read - changed if "key.bias" not in key and "k_proj.bias" not in key} == set()


@every_tuner
@every_family
def test_untrained_change_starts_from_the_pretrained_features(tiny, name, family):
    if not ingredients.find("tuners", name).starts_there:
        pytest.skip(f"{name} changes what the encoder reads from the start")
    model = tiny(family)
    before = features(model)
    build_tuner(name).apply(model)
    torch.testing.assert_close(features(model), before, rtol=1e-5, atol=1e-5)


@every_tuner
@every_family
def test_folding_keeps_outputs_and_leaves_the_plain_architecture(tiny, name, family):
    names = set(tiny(family).backbone.state_dict())
    tuner = build_tuner(name)
    if not tuner.folds:
        pytest.skip(f"{name} has no plain weights to fold into")
    learner, _ = trained(tiny(family), tuner)
    model = learner.cast.model
    before = features(model)
    tuner.fold(model)
    torch.testing.assert_close(features(model), before, rtol=0, atol=1e-5 * max(1.0, before.abs().max().item()))
    assert set(model.backbone.state_dict()) == names


@every_tuner
@every_family
def test_blocks_of_the_prefix_keep_their_weights(tiny, name, family):
    tuner = build_tuner(name)
    learner = learner_for(tiny(family), tuner, steps=3)
    tower, depth = learner.cast.model.tower(), tuner.prefix(learner.cast.model)
    before = [fingerprint(block) for block in tower.blocks]
    train(learner)
    after = [fingerprint(block) for block in tower.blocks]
    assert after[:depth] == before[:depth]
    if 0 < depth < tower.depth:
        assert after[depth:] != before[depth:]


@every_tuner
@every_family
def test_training_from_cached_states_equals_training_without(tiny, name, family):
    tuner, uncached = build_tuner(name), build_tuner(name)
    uncached.prefix = lambda model: 0
    if tuner.prefix(tiny(family)) == 0:
        pytest.skip(f"{name} caches nothing on {family}")
    # Batch norms over four rows amplify rounding by orders of magnitude each step: the steps are kept short.
    learner, trace = trained(tiny(family), tuner, steps=3, rate=1e-4)
    other, other_trace = trained(tiny(family), uncached, steps=3, rate=1e-4)
    assert CACHED_STATE in learner.data.batch(np.arange(2))[learner.data.modality]
    np.testing.assert_allclose(trace.losses, other_trace.losses, rtol=1e-4)
    torch.testing.assert_close(features(learner.cast.model), features(other.cast.model), rtol=1e-3, atol=1e-3)


@every_tuner
def test_applied_a_second_time_goes_on_from_where_it_was(tiny, name):
    tuner = build_tuner(name)
    learner, _ = trained(tiny("bert"), tuner)
    model = learner.cast.model
    trains, before = [key for key, _ in model.trainable()], features(model)
    tuner.apply(model)
    assert [key for key, _ in model.trainable()] == trains
    assert torch.equal(features(model), before)


@every_tuner
def test_a_trial_leaves_no_trace(tiny, name):
    learner = learner_for(tiny("bert"), build_tuner(name))
    before = fingerprint(learner.cast.model)
    with learner.trial():
        train(learner)
    assert fingerprint(learner.cast.model) == before


@every_tuner
def test_states_its_learning_rates_and_its_source(name):
    cls = ingredients.find("tuners", name)
    assert all(0 < rate < 1 for rate in cls.learning_rates)
    assert cls.__doc__
