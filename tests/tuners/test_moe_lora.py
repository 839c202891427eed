"""Low-rank experts mixed token by token: the formula, the gates, what trains."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.engine.rows import Rows
from warmstart.models.reading import take_gates
from warmstart.tuners.lora import Lora
from warmstart.tuners.moe_lora import MoeLora


def moved(model, **arguments):
    torch.manual_seed(0)
    MoeLora(**arguments).apply(model)
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def layers(model):
    return [part.module for part in model.tower().parts("block.*.ffn.*")]


@pytest.mark.faithful("loramoe")
@pytest.mark.parametrize("family", ["bert", "gpt2"])
@torch.no_grad()
def test_equals_the_official_layer(tiny, family):
    """lora.py of LoRAMoE: result + sum_i route[:, :, i] * B_i(A_i(x)) * alpha / r, route a softmax of x."""
    layer = layers(moved(tiny(family), experts=3, rank=2, alpha=8))[0]
    x = torch.randn(4, 5, 16)
    route = (x @ layer.router.T).softmax(-1)
    expected = layer.base_layer(x)
    for i in range(3):
        expected = expected + route[:, :, i : i + 1] * (x @ layer.down[i].T @ layer.up[i].T) * 4
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.faithful("loramoe")
def test_gates_of_a_forward_sum_to_one_at_every_real_token(tiny):
    model = moved(tiny("bert"), experts=4)
    batch = Rows(model, tiny_rows("text")).batch(np.arange(8))
    model.encode(batch)
    gates = take_gates(model)
    assert len(gates) == 6
    for one in gates.values():
        torch.testing.assert_close(one.sum(-1), batch["text"]["attention_mask"].float())


def test_experts_and_router_train_and_nothing_else_of_the_encoder(tiny):
    model = moved(tiny("vit"), experts=6, rank=4)
    names = {name.rpartition(".")[2] for name, _ in model.trainable()}
    assert names == {"router", "down", "up"}
    width, hidden = 16, 24
    found = sum(parameter.numel() for _, parameter in model.trainable())
    assert found == 3 * (2 * 6 * 4 * (width + hidden) + 6 * (width + hidden))


def test_has_as_many_weights_as_one_lora_of_the_ranks_and_half_an_expert_each(tiny):
    """rank 27 for 6 experts of rank 4 where the two layers of the network mirror each other, as in the recipe."""
    mixed, single = moved(tiny("vit"), experts=6, rank=4), tiny("vit")
    Lora(rank=27, targets=["ffn.*"]).apply(single)
    assert sum(p.numel() for _, p in mixed.trainable()) == sum(p.numel() for _, p in single.trainable())


def test_refuses_no_experts():
    with pytest.raises(ValueError, match="1 or more"):
        MoeLora(experts=0)
