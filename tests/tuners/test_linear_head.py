import torch

from warmstart.models import count, fingerprint
from warmstart.tuners.linear_head import LinearHead


def test_only_what_is_attached_trains(tiny):
    model = tiny("bert")
    model.attach("head", "linear", width=16, outputs=3)
    LinearHead().apply(model)
    assert count([p for _, p in model.trainable()]) == 16 * 3 + 3


def test_all_blocks_are_reused_where_a_forward_may_be_entered(tiny):
    assert LinearHead().prefix(tiny("bert")) == 3
    assert LinearHead().prefix(tiny("mobilenet")) == 7


def test_nothing_is_reused_on_an_architecture_that_is_not_known():
    from warmstart.models import load_model

    network = torch.nn.Sequential(*[torch.nn.Conv2d(3, 3, 1) for _ in range(4)])
    assert LinearHead().prefix(load_model(network)) == 0


def test_the_encoder_is_not_touched(tiny):
    model = tiny("vit")
    before = fingerprint(model.backbone)
    LinearHead().apply(model)
    assert fingerprint(model.backbone) == before
