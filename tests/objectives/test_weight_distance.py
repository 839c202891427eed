"""The distance of the weights that train from a reference, computed by hand."""

import pytest
import torch
from torch import nn

from warmstart.engine.cast import Cast
from warmstart.engine.step import Step
from warmstart.ingredients import build
from warmstart.models import load_model


class Two(nn.Module):
    image_size = 2

    def __init__(self):
        super().__init__()
        self.square, self.wide = nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.square.weight.copy_(torch.tensor([[3.0, 1.0], [0.0, 1.0]]))
            self.wide.weight.fill_(1.0)

    def forward(self, pixels):
        return self.wide(self.square(pixels))


def moved_by(arguments, change, members=()):
    """The loss after every weight of `square` has moved by `change` since the first loss."""
    model = load_model(Two())
    model.attach("head", "linear", width=3, outputs=2)
    cast = Cast(model, **{name: load_model(Two()) for name in members})
    objective = build("objectives", {"weight_distance": arguments})
    objective.prepare(cast, None)
    first = objective.loss(cast, {}, Step(0, 2, 0))["weight_distance"]
    with torch.no_grad():
        model.backbone.square.weight += change
        model.attached["head"].weight += 100
    return first, objective.loss(cast, {}, Step(1, 2, 0))["weight_distance"], model


@pytest.mark.faithful("alignet")
def test_squares_of_the_way_from_the_start_without_the_head():
    first, then, model = moved_by({}, 0.5)
    assert first == 0
    assert then.item() == pytest.approx(4 * 0.25)
    then.backward()
    assert torch.equal(model.backbone.square.weight.grad, torch.full((2, 2), 1.0))
    assert model.attached["head"].weight.grad is None


def test_absolute_values_and_repulsion():
    assert moved_by({"metric": "l1"}, -0.5)[1].item() == pytest.approx(2.0)
    first, then, _ = moved_by({"sign": "repel"}, 0.5)
    assert (first.item(), then.item()) == (pytest.approx(1.0), pytest.approx(torch.e**-1.0))


@pytest.mark.faithful("alignet")
def test_distance_from_the_scaled_identity_counts_square_matrices():
    # [[3, 1], [0, 1]] - 2 I = [[1, 1], [0, -1]]; the wide matrix does not count.
    assert moved_by({"to": "scaled_identity"}, 0.0)[1].item() == pytest.approx(3.0)


def test_reference_may_be_a_member_and_names_may_be_chosen():
    assert moved_by({"to": "other"}, 0.5, ["other"])[1].item() == pytest.approx(1.0)
    assert moved_by({"only": "*wide*"}, 0.5)[1] == 0
    with pytest.raises(ValueError, match="of the names 'no"):
        moved_by({"only": "no*"}, 0.5)
    with pytest.raises(LookupError, match="no member 'other'"):
        moved_by({"to": "other"}, 0.5)


def test_reference_is_state_and_a_new_training_begins_anew():
    _, _, model = moved_by({}, 0.5)
    cast, objective = Cast(model), build("objectives", "weight_distance")
    objective.loss(cast, {}, Step(0, 1, 0))
    assert objective.state()["start_"].numel() == 10
    objective.prepare(cast, None)
    assert objective.state() == {}
