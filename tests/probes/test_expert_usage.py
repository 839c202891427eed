"""How much of the gates goes to the half of the experts that is a row's own."""

import pytest
import torch

from warmstart.data.dataset import DataError
from warmstart.data.facts import facts
from warmstart.engine.cast import Cast
from warmstart.models.builders import build_model
from warmstart.models.reading import Routed
from warmstart.objectives.causal_lm import CausalLm
from warmstart.probes.expert_usage import ExpertUsage
from warmstart.tuners.moe_lora import MoeLora

OBJECTIVE = CausalLm("answer", "text")
DATA = facts(entities=8, relations=2, rows=10, test_rows=9, asked=0.25)


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = build_model({"transformer_lm": {"tokenizer": "facts", "width": 16, "depth": 2, "heads": 2, "context": 16}})
    MoeLora(experts=4).apply(built)
    return built


def routed(model):
    return [part.module for part in model.tower().parts("block.*.ffn.*")]


@pytest.mark.faithful("loramoe")
def test_a_router_that_does_not_look_gives_each_half_its_experts_share(model):
    for layer in routed(model):
        torch.nn.init.zeros_(layer.router)
    found = ExpertUsage(OBJECTIVE).measure(Cast(model), DATA)
    assert found["type_0"] == found["type_1"] == found["matching"] == pytest.approx(0.5)
    assert len(found["examples"]["type_0"]) == 9
    assert len(found["examples"]["type_1"]) == 12


@pytest.mark.faithful("loramoe")
def test_a_router_that_takes_the_first_half_for_all_matches_type_1_alone(model, monkeypatch):
    keep, taken = Routed.keep, torch.tensor([0.5, 0.25, 0.25, 0.0])
    monkeypatch.setattr(Routed, "keep", lambda layer, gates: keep(layer, torch.ones_like(gates) * taken))
    found = ExpertUsage(OBJECTIVE).measure(Cast(model), DATA)
    assert found["type_1"] == pytest.approx(0.75)
    assert found["type_0"] == pytest.approx(0.25)


def test_wants_routed_layers_and_types():
    plain = build_model({"transformer_lm": {"tokenizer": "facts", "width": 16, "depth": 1, "heads": 2, "context": 16}})
    with pytest.raises(ValueError, match="routed layers"):
        ExpertUsage(OBJECTIVE).measure(Cast(plain), DATA)
    with pytest.raises(DataError, match="no column 'kind'"):
        ExpertUsage(OBJECTIVE, role="kind").measure(Cast(plain), DATA)
