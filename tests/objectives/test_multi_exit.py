"""JEI-DNN: both losses by hand, whose weights train in which phase, and states that are computed once."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.compressors.early_exit import EarlyExit
from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.engine.exits import exit_states
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.models.cnn import cnn
from warmstart.models.vit import vit
from warmstart.objectives.multi_exit import MultiExit
from warmstart.tuners.full import Full
from warmstart.tuners.linear_head import LinearHead

WARM, GATES, HEADS = (Step(index=i, total=9) for i in (0, 1, 3))


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    model = vit(width=24, depth=3, heads=2, patch=4, image_size=16)
    head = model.attach("head", "linear", width=24, outputs=2, zero=False)
    torch.nn.init.normal_(head.weight)
    data = tiny_rows("image")
    model = EarlyExit().compress(model, Splits(train=data, test=data))
    for parameter in model.attached["exits"].parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def model(made):
    return copy.deepcopy(made)


def terms(model, step, **arguments):
    objective = MultiExit(warm_up=1, every=2, frozen=False, **arguments)
    rows = Rows(model, tiny_rows("image"))
    objective.prepare(Cast(model), rows)
    turn = objective.active(step)[0]
    step = Step(step.index, step.total, turn=turn)
    return objective.loss(Cast(model), rows.batch(np.arange(8)), step)


@torch.no_grad()
def by_hand(model):
    """Cross-entropies (8, 3) of two exits and the end, gates (8, 2), costs (3,)."""
    batch = Rows(model, tiny_rows("image")).batch(np.arange(8))
    states, last = exit_states(model, batch, [0, 1])
    exits = model.attached["exits"]
    logits = [head(state) for head, state in zip(exits.heads, states, strict=True)] + [model.attached["head"](last)]
    losses = torch.stack([-one.log_softmax(1)[torch.arange(8), batch["label"]] for one in logits], 1)
    return losses, exits.gate_logits(torch.stack(logits[:2], 1)).sigmoid(), exits.costs


def test_warm_up_weighs_early_heads_more(model):
    losses, _, _ = by_hand(model)
    torch.testing.assert_close(terms(model, WARM)["heads"], 3 * losses[:, 0] + 2 * losses[:, 1])


@pytest.mark.faithful("jei-dnn")
def test_heads_learn_where_rows_leave_and_the_loss_keeps_its_size(model):
    losses, gates, _ = by_hand(model)
    found = terms(model, HEADS)["heads"]
    torch.testing.assert_close(found, losses[:, :2].sum(1))
    found.sum().backward()
    share = torch.stack([gates[:, 0], torch.minimum(gates[:, 1], 1 - gates[:, 0]).clamp_min(0)], 1)
    scale = losses[:, :2].sum(1) / (share * losses[:, :2]).sum(1)
    twin = copy.deepcopy(model)
    batch = Rows(twin, tiny_rows("image")).batch(np.arange(8))
    states, _ = exit_states(twin, batch, [0, 1])
    logits = twin.attached["exits"].logits(states)
    each = torch.stack([-logits[:, i].log_softmax(1)[torch.arange(8), batch["label"]] for i in (0, 1)], 1)
    twin.zero_grad()
    (scale * (share * each).sum(1)).sum().backward()
    for mine, theirs in zip(
        model.attached["exits"].heads.parameters(), twin.attached["exits"].heads.parameters(), strict=True
    ):
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.faithful("jei-dnn")
def test_gates_learn_the_cheapest_exit(model):
    losses, gates, costs = by_hand(model)
    best = (losses + 0.7 * costs).argmin(1)
    target = torch.stack([(best <= i).float() for i in (0, 1)], 1)
    assert 0 < target.sum() < target.numel()
    ones = target.sum(0)
    weight = torch.where(target > 0, ((8 - ones) / ones.clamp_min(0.1)).clamp_max(5), 1.0)
    apart = -(target * gates.log() + (1 - target) * (1 - gates).log())
    torch.testing.assert_close(terms(model, GATES)["gates"], (weight * apart).sum(1))


def test_costs_of_a_vit_rise_by_equal_blocks(model):
    costs = model.attached["exits"].costs
    torch.testing.assert_close(costs[2] - costs[1], costs[1] - costs[0])
    assert 0.33 < costs[0] < 0.37
    assert costs[2] == 1


def test_phases_alternate_after_the_warm_up():
    objective = MultiExit(warm_up=2, every=2)
    phases = [objective.active(Step(index, 8))[0] for index in range(8)]
    assert phases == ["heads", "heads", "gates", "gates", "heads", "heads", "gates", "gates"]
    assert {MultiExit(warm_up=2, gates=False).active(Step(index, 8)) for index in range(8)} == {("heads",)}


def learner_for(model, **arguments):
    objective = MultiExit(warm_up=1, every=1, **arguments)
    settings = Settings(steps=3, batch_size=8, precision="no")
    return Learner(Cast(model), [(objective, 1.0)], LinearHead(), Rows(model, tiny_rows("image")), settings)


def changed(model, before):
    return {
        ".".join(name.split(".")[:3])
        for name, parameter in model.named_parameters()
        if not torch.equal(parameter, before[name])
    }


def test_each_phase_trains_its_own_weights_alone(model):
    learner = learner_for(model)
    expected = ["attached.exits.heads", "attached.exits.gates", "attached.exits.heads"]
    for index, name in enumerate(expected):
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        learner.advance(Step(index, 3))
        assert changed(model, before) == {name}


def test_blocks_of_different_widths_have_heads_of_their_own():
    net = cnn(widths=[8, 16], depths=[1, 1], stem=8)
    net.attach("head", "linear", width=16, outputs=2)
    data = tiny_rows("image")
    net = EarlyExit().compress(net, Splits(train=data, test=data))
    assert [head.in_features for head in net.attached["exits"].heads] == [8]
    cached, anew = learner_for(copy.deepcopy(net)), learner_for(copy.deepcopy(net), frozen=False)
    assert cached.advance(Step(0, 3)) == pytest.approx(anew.advance(Step(0, 3)), rel=1e-4)


def test_states_computed_once_give_the_same_losses(model):
    cached, anew = learner_for(copy.deepcopy(model)), learner_for(copy.deepcopy(model), frozen=False)
    for index in range(3):
        assert cached.advance(Step(index, 3)) == pytest.approx(anew.advance(Step(index, 3)), rel=1e-4)


def test_states_computed_once_need_an_encoder_that_does_not_train(model):
    settings = Settings(steps=3, batch_size=8, precision="no")
    learner = Learner(Cast(model), [(MultiExit(), 1.0)], Full(), Rows(model, tiny_rows("image")), settings)
    with pytest.raises(ValueError, match="the encoder trains: write `tuner: linear_head`"):
        learner.advance(Step(0, 3))


def test_a_model_without_exits_is_refused(model):
    plain = vit(width=24, depth=3, heads=2, patch=4, image_size=16)
    with pytest.raises(ValueError, match="multi_exit needs exits"):
        MultiExit().prepare(Cast(plain), Rows(plain, tiny_rows("image")))
