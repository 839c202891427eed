"""A layer whose entries change computes with its own weights plus the change, whatever kind of layer it is."""

import copy

import pytest
import torch
from torch import nn

from warmstart.models.sparse import SparselyTuned
from warmstart.models.wrapped import Wrapped


class Transposed(nn.Module):
    """As transformers' Conv1D: weight (in, out)."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(3))

    def forward(self, x):
        return x @ self.weight + self.bias


class Twice(Wrapped):
    def forward(self, x):
        return 2 * self.base_layer(x)


LAYERS = {
    "linear": (nn.Linear(4, 3), torch.randn(2, 4)),
    "transposed": (Transposed(), torch.randn(2, 4)),
    "convolution": (nn.Conv2d(2, 3, 3), torch.randn(2, 2, 5, 5)),
    "embedding": (nn.Embedding(5, 3), torch.tensor([[0, 1, 4]])),
    "layer norm": (nn.LayerNorm(4), torch.randn(2, 4)),
    "batch norm": (nn.BatchNorm2d(2).eval(), torch.randn(2, 2, 3, 3)),
    "wrapped": (Twice(nn.Linear(4, 3)), torch.randn(2, 4)),
}


@torch.no_grad()
@pytest.mark.parametrize("kind", LAYERS)
def test_equals_the_layer_with_the_entries_added_to_its_parameters(kind):
    layer, x = copy.deepcopy(LAYERS[kind][0]), LAYERS[kind][1]
    expected = copy.deepcopy(layer)
    wrapped = SparselyTuned(layer)
    own = nn.utils.parameters_to_vector(expected.parameters())
    index = torch.tensor([0, 2, len(own) - 1])
    wrapped.choose(index)
    assert torch.equal(wrapped(x), layer(x))
    wrapped.values.copy_(torch.tensor([1.0, -2.0, 0.5]))
    own[index] += torch.tensor([1.0, -2.0, 0.5])
    nn.utils.vector_to_parameters(own, expected.parameters())
    torch.testing.assert_close(wrapped(x), expected(x))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["linear", "transposed", "convolution"])
def test_a_low_rank_matrix_starts_at_zero_and_is_added_to_the_weight(kind):
    layer, x = copy.deepcopy(LAYERS[kind][0]), LAYERS[kind][1]
    expected, wrapped = copy.deepcopy(layer), SparselyTuned(layer)
    wrapped.choose(torch.zeros(0, dtype=torch.int64), rank=2)
    torch.testing.assert_close(wrapped(x), layer(x))
    wrapped.up.normal_()
    expected.weight.add_((wrapped.up @ wrapped.down).view(expected.weight.shape))
    torch.testing.assert_close(wrapped(x), expected(x))
    assert wrapped.up.numel() + wrapped.down.numel() == 2 * (len(layer.weight) + layer.weight[0].numel())


def test_gradients_are_those_of_the_weight_at_the_entries():
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 3), torch.randn(6, 4)
    layer(x).square().sum().backward()
    dense = torch.cat([layer.weight.grad.flatten(), layer.bias.grad])
    wrapped = SparselyTuned(layer.requires_grad_(False))
    wrapped.choose(torch.tensor([1, 5, 13]))
    wrapped(x).square().sum().backward()
    torch.testing.assert_close(wrapped.values.grad, dense[[1, 5, 13]])


def test_entries_that_stop_stay_whatever_the_optimizer_does():
    wrapped = SparselyTuned(nn.Linear(4, 3))
    wrapped.choose(torch.tensor([0, 1, 2]), stops=True)
    with torch.no_grad():
        wrapped.values.copy_(torch.tensor([0.1, 0.2, 0.3]))
        wrapped.stop(torch.tensor([False, True, False]))
        wrapped.values.add_(1.0)
        wrapped.stop(torch.tensor([True, True, False]))
        wrapped.values.add_(1.0)
    torch.testing.assert_close(wrapped.changes(), torch.tensor([1.1, 0.2, 2.3]))
    wrapped.changes().sum().backward()
    assert wrapped.values.grad.tolist() == [0.0, 0.0, 1.0]


def test_a_state_dict_brings_the_number_of_entries():
    saved = SparselyTuned(nn.Linear(4, 3))
    saved.choose(torch.tensor([3, 7]), rank=2)
    nn.init.normal_(saved.values)
    nn.init.normal_(saved.up)
    again = SparselyTuned(nn.Linear(4, 3))
    again.load_state_dict(saved.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(again(x), saved(x))
    assert again.values.requires_grad


@torch.no_grad()
def test_a_wrapper_may_come_between_later():
    layer = SparselyTuned(nn.Linear(4, 3))
    layer.choose(torch.tensor([0, 13]))
    layer.values.copy_(torch.tensor([0.5, -1.0]))
    x = torch.randn(2, 4)
    alone = layer(x)
    layer.base_layer = Twice(layer.base_layer)
    torch.testing.assert_close(layer(x), 2 * alone)
