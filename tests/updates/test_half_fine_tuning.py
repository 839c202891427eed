"""Half of the matrices train, the others stand still, whatever momentum and decay would do with them."""

import pytest
import torch
from tiny_models import tiny_rows

from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.tuners.full import Full
from warmstart.updates.half_fine_tuning import HalfFineTuning

STEPS = 12


def learner_over(model, **arguments) -> Learner:
    settings = Settings(steps=STEPS, batch_size=4, learning_rate=1e-2, weight_decay=0.5, precision="no", seed=3)
    torch.nn.init.normal_(model.attach("head", "linear", width=16, outputs=2, zero=False).weight)
    rows = Rows(model, tiny_rows(model.tower().modality))
    learner = Learner(
        Cast(model), [(CrossEntropy(), 1.0)], Full(), rows, settings, updates=[HalfFineTuning(**arguments)]
    )
    learner.training(True)
    return learner


def moved(learner, index) -> set[str]:
    before = {name: tensor.detach().clone() for name, tensor in learner.model.named_parameters()}
    learner.advance(Step(index, STEPS, 3))
    return {name for name, tensor in learner.model.named_parameters() if not torch.equal(tensor, before[name])}


def matrices(names: set[str]) -> set[str]:
    return {name for name in names if name.endswith("weight") and ("dense" in name or "self." in name)}


@pytest.mark.faithful("finetuning-guide")
def test_in_every_block_half_of_attention_and_half_of_ffn_trains(tiny):
    learner = learner_over(tiny("bert"), redraw=2)
    for index in range(STEPS):
        names = moved(learner, index)
        for block in range(3):
            here = {name for name in matrices(names) if f"layer.{block}." in name}
            assert len({name for name in here if "attention" in name}) == 2
            assert len({name for name in here if "attention" not in name}) == 1
        assert "backbone.embeddings.word_embeddings.weight" in names
        assert "attached.head.weight" in names
        assert any("LayerNorm" in name for name in names)


@pytest.mark.faithful("finetuning-guide")
def test_a_round_keeps_its_half_and_another_draws_another(tiny):
    learner = learner_over(tiny("bert"), redraw=3)
    rounds = [[matrices(moved(learner, 3 * r + i)) for i in range(3)] for r in range(4)]
    assert all(half == one[0] for one in rounds for half in one)
    assert len({frozenset(one[0]) for one in rounds}) > 1
    # None is left out for good.
    assert len(set().union(*(one[0] for one in rounds))) > len(rounds[0][0])


@pytest.mark.faithful("finetuning-guide")
def test_what_rests_keeps_its_momentum_for_the_round_in_which_it_trains_again(tiny):
    learner = learner_over(tiny("bert"), redraw=1)
    seen: dict[str, int] = {}
    for index in range(STEPS):
        for name in matrices(moved(learner, index)):
            seen[name] = seen.get(name, 0) + 1
    states = learner.optimizers["model"].state
    counted = {n: int(states[p]["step"]) for n, p in learner.model.named_parameters() if p in states and n in seen}
    assert counted == seen
    assert min(seen.values()) < STEPS


def test_an_epoch_is_a_round_by_default(tiny):
    learner = learner_over(tiny("bert"))
    halves = [matrices(moved(learner, index)) for index in range(6)]
    assert halves[0] == halves[1]
    assert halves[2] == halves[3]
    assert len({frozenset(half) for half in halves}) > 1


def test_all_weights_count_as_training_between_updates(tiny):
    learner = learner_over(tiny("bert"))
    before = [name for name, _ in learner.model.trainable()]
    learner.advance(Step(0, STEPS, 3))
    assert [name for name, _ in learner.model.trainable()] == before


@pytest.mark.parametrize(("family", "layers"), [("gpt2", 2), ("vit", 3), ("clip", 3)])
def test_fused_matrices_are_one(tiny, family, layers):
    model = tiny(family)
    width = 12 if family == "clip" else 16
    model.attach("head", "linear", width=width, outputs=2, zero=False)
    rows = Rows(model, tiny_rows(model.tower().modality))
    settings = Settings(steps=2, batch_size=4, learning_rate=1e-2, precision="no", seed=3)
    learner = Learner(Cast(model), [(CrossEntropy(), 1.0)], Full(), rows, settings, updates=[HalfFineTuning()])
    names = {part.path for part in model.tower().parts("block.0.attention.*", "block.0.ffn.*")}
    still = {n for n in names if not any(n in name for name in moved(learner, 0))}
    assert len(names) - len(still) == layers


def test_says_where_it_does_not_apply(tiny):
    model = tiny("mobilenet")
    rows = Rows(model, tiny_rows("image"))
    settings = Settings(steps=1, batch_size=4, precision="no")
    learner = Learner(Cast(model), [(CrossEntropy(), 1.0)], Full(), rows, settings, updates=[HalfFineTuning()])
    with pytest.raises(ValueError, match="attention or feed-forward layers are known"):
        learner.advance(Step(0, 1, 0))


@pytest.mark.parametrize("arguments", [{"share": 0.0}, {"redraw": 0}])
def test_refuses_what_it_cannot_mean(arguments):
    with pytest.raises(ValueError, match="share|redraw"):
        HalfFineTuning(**arguments)
