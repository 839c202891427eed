"""Localised balancing of experts: the paper's formula, what it asks for, what it refuses."""

import pytest
import torch
from torch import nn

from warmstart.data.dataset import DataError
from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.models.reading import Routed
from warmstart.objectives.load_balance import LoadBalance


class Given(nn.Module):
    """A model whose routed layers have just had these gates."""

    def __init__(self, *gates):
        super().__init__()
        self.layers = nn.ModuleList(Routed(nn.Identity()) for _ in gates)
        for layer, one in zip(self.layers, gates, strict=True):
            layer.gates = one


def loss(objective, *gates, types=None):
    batch = {"rows": torch.arange(len(gates[0]))} | ({} if types is None else {"task_type": types})
    return objective.loss(Cast(Given(*gates)), batch, Step())["load_balance"]


def official(gates, types, delta):
    """lora.py of LoRAMoE: cv_squared of the flattened, weighted sums over the tokens."""
    types = types.view(-1, 1)
    half = gates.shape[-1] // 2
    ours = torch.cat([(types == 1).repeat(1, half), (types == 0).repeat(1, half)], dim=-1)
    x = (gates.sum(1) * torch.where(ours, 1.0 + delta, 1.0 - delta)).flatten()
    return x.var() / (x.mean() ** 2 + 1e-10)


@pytest.mark.faithful("loramoe")
@pytest.mark.parametrize("delta", [0.0, 0.1, 0.5, -0.1])
def test_equals_the_official_loss_averaged_over_layers(delta):
    torch.manual_seed(0)
    gates = [torch.randn(5, 7, 6).softmax(-1) for _ in range(3)]
    types = torch.tensor([1, 0, 0, 1, 0])
    expected = torch.stack([official(one, types, delta) for one in gates]).mean()
    torch.testing.assert_close(loss(LoadBalance(delta), *gates, types=types), expected)


@pytest.mark.faithful("loramoe")
def test_is_zero_where_each_type_takes_its_half_as_much_less_as_it_weighs_more():
    """Z is even where the gates of the matching half are (1 - delta) / (1 + delta) of the others': then var is 0."""
    types, delta = torch.tensor([1, 0]), 0.25
    mine, other = 1 / 1.25, 1 / 0.75
    gates = torch.tensor([[[mine, mine, other, other]], [[other, other, mine, mine]]])
    assert loss(LoadBalance(delta), gates, types=types).item() == pytest.approx(0, abs=1e-7)
    assert loss(LoadBalance(delta), gates.flip(0), types=types) > 0.1
    assert loss(LoadBalance(-delta), gates.flip(0), types=types).item() == pytest.approx(0, abs=1e-7)


def test_plain_balancing_needs_no_types():
    even = torch.full((3, 2, 4), 0.25)
    assert loss(LoadBalance(0.0), even).item() == pytest.approx(0, abs=1e-7)


def test_refuses_what_it_cannot_balance(tiny_text):
    with pytest.raises(ValueError, match="comes|before it"):
        LoadBalance(0.0).loss(Cast(Given()), {"rows": torch.arange(2)}, Step())
    with pytest.raises(ValueError, match=r"\(-1, 1\)"):
        LoadBalance(1.0)
    with pytest.raises(DataError, match="task_type"):
        LoadBalance().prepare(Cast(tiny_text.model), tiny_text)


@pytest.fixture
def tiny_text(tmp_path):
    from tiny_models import tiny_model, tiny_rows

    return Rows(tiny_model("bert", tmp_path), tiny_rows("text"))
