import torch
from torch import nn

from warmstart.models.wrapped import Wrapped, innermost, split_state


class Plus(Wrapped):
    def __init__(self, base_layer):
        super().__init__(base_layer)
        self.shift = nn.Parameter(torch.zeros(base_layer.weight.shape[0]))

    def forward(self, x):
        return self.base_layer(x) + self.shift


def test_what_is_read_from_the_layer_is_read_through_the_wrapper():
    layer = nn.Linear(2, 3)
    wrapped = Plus(Plus(layer))
    assert wrapped.weight is layer.weight
    assert (wrapped.in_features, wrapped.out_features) == (2, 3)
    assert not hasattr(wrapped, "nothing")
    assert innermost("a", wrapped) == ("a.base_layer.base_layer", layer)


def test_split_state_tells_the_architecture_from_what_was_added():
    plain = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    names = set(plain.state_dict())
    plain[0] = Plus(Plus(plain[0]))
    own, added = split_state(plain)
    assert set(own) == names
    assert own["0.weight"].data_ptr() == plain[0].weight.data_ptr()
    assert set(added) == {"0.shift", "0.base_layer.shift"}


def test_a_root_that_is_wrapped_itself_is_split():
    own, added = split_state(Plus(nn.Linear(2, 3)))
    assert (set(own), set(added)) == ({"weight", "bias"}, {"shift"})
