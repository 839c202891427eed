"""One view of every encoder: pooling, taps, and forwards entered in the middle."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import IMAGE_FAMILIES, TEXT_FAMILIES, tiny_rows

from warmstart.engine.rows import Rows
from warmstart.models.tower import CACHED_DEPTH, CACHED_STATE, pool_tokens

FAMILIES = (*TEXT_FAMILIES, *IMAGE_FAMILIES)


def batch_for(model) -> dict:
    modality = model.tower().modality
    return Rows(model, tiny_rows(modality)).batch(np.arange(8))[modality]


def test_pooling_reads_real_tokens_only():
    tokens = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert torch.equal(pool_tokens(tokens, mask, "first"), tokens[:, 0])
    assert torch.equal(pool_tokens(tokens, mask, "last"), torch.stack([tokens[0, 1], tokens[1, 2]]))
    assert torch.equal(pool_tokens(tokens, mask, "mean"), torch.stack([tokens[0, :2].mean(0), tokens[1].mean(0)]))
    assert torch.equal(pool_tokens(tokens, None, "last"), tokens[:, -1])


@torch.no_grad()
@pytest.mark.parametrize("family", TEXT_FAMILIES)
@pytest.mark.parametrize("pool", ["mean", "first", "last"])
def test_a_row_does_not_depend_on_the_padding_beside_it(tiny, family, pool):
    model = tiny(family)
    tower = model.tower()
    tower.pool = pool
    rows = Rows(model, tiny_rows("text"))
    together = tower.encode(rows.batch(np.arange(8))["text"]).pooled
    alone = torch.cat([tower.encode(rows.batch(np.array([i]))["text"]).pooled for i in range(8)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_a_forward_entered_at_any_block_gives_the_same_outputs(tiny, family):
    model = tiny(family)
    tower, inputs = model.tower(), batch_for(tiny(family))
    whole = tower.encode(inputs).pooled
    assert tower.layout.resumable
    for depth in range(tower.depth + 1):
        state = tower.state_before(inputs, depth)
        resumed = tower.encode({**inputs, CACHED_STATE: state, CACHED_DEPTH: depth}).pooled
        assert torch.equal(resumed, whole)
    # Nothing of the detour stays behind.
    assert torch.equal(tower.encode(inputs).pooled, whole)


@torch.no_grad()
def test_a_resumed_forward_runs_only_what_is_left(tiny):
    model = tiny("bert")
    tower, inputs, ran = model.tower(), batch_for(tiny("bert")), []
    for i, block in enumerate(tower.blocks):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    state = tower.state_before(inputs, 2)
    assert ran == [0, 1]
    ran.clear()
    tower.encode({**inputs, CACHED_STATE: state, CACHED_DEPTH: 2})
    assert ran == [2]


@torch.no_grad()
@pytest.mark.parametrize("family", ["bert", "gpt2", "vit", "llama"])
def test_taps_are_the_hidden_states(tiny, family):
    model = tiny(family)
    inputs = batch_for(model)
    expected = model.backbone(**inputs, output_hidden_states=True).hidden_states
    states = model.tower().encode(inputs, keep=("block.?",)).states
    assert list(states) == ["block.0", "block.1", "block.2"]
    for i in range(2):
        assert torch.equal(states[f"block.{i}"], expected[i + 1])


def test_layers_are_found_on_any_architecture(tiny):
    for family, linears, norms in [("bert", 18, 7), ("gpt2", 12, 7), ("llama", 21, 7), ("vit", 19, 7)]:
        tower = tiny(family).tower()
        assert (len(tower.linears()), len(tower.norms())) == (linears, norms)
    mobilenet = tiny("mobilenet").tower()
    kinds = [type(layer) for layer in mobilenet.module.modules()]
    assert len(mobilenet.linears()) == sum(issubclass(kind, torch.nn.Conv2d) for kind in kinds)
    assert len(mobilenet.norms()) == sum(issubclass(kind, torch.nn.BatchNorm2d) for kind in kinds)


def test_layers_that_torch_never_calls_are_not_found():
    from warmstart.models import load_model

    attention = torch.nn.MultiheadAttention(8, 2)
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), attention)
    assert [path for path, _ in load_model(network).tower().linears()] == ["0"]


def test_own_pooling_counts_where_it_is_read(tiny):
    tower = tiny("bert").tower()
    assert not any(name.startswith("pooler") for name, _ in tower.named_parameters())
    tower.pool = "own"
    assert any(name.startswith("pooler") for name, _ in tower.named_parameters())
    assert "pooler.dense" in dict(tower.linears())


@torch.no_grad()
def test_a_copied_model_has_towers_of_its_own(tiny):
    model = tiny("clip")
    twin = copy.deepcopy(model)
    inputs = batch_for(model)
    before = model.tower().encode(inputs).pooled
    for parameter in twin.parameters():
        parameter.zero_()
    assert torch.equal(model.tower().encode(inputs).pooled, before)
    assert not torch.equal(twin.tower().encode(inputs).pooled, before)
    assert twin.tower().module is twin.backbone.vision_model
