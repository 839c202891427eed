import pytest
import torch

from warmstart import ingredients
from warmstart.engine.saving import load_saved, save_model
from warmstart.models import count
from warmstart.tuners.adapter import Adapter
from warmstart.tuners.full import Full
from warmstart.tuners.lora import Lora
from warmstart.tuners.scale_shift import ScaleShift
from warmstart.tuners.soft_prompt import SoftPrompt
from warmstart.tuners.together import Together

IDS = torch.arange(4, 12).view(2, 4)
MAM = {"together": {"tuners": [{"adapter": {"rank": 3, "scaling": 4.0}}, {"soft_prompt": {"form": "prefix"}}]}}


def trains(model) -> int:
    return count([parameter for _, parameter in model.trainable()])


def scrambled(model):
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.faithful("unified-petl")
def test_mix_and_match_trains_a_prefix_and_a_parallel_adapter(tiny):
    model, alone, other = tiny("bert"), tiny("bert"), tiny("bert")
    ingredients.build("tuners", MAM).apply(model)
    Adapter(rank=3).apply(alone)
    SoftPrompt(form="prefix").apply(other)
    assert trains(model) == trains(alone) + trains(other)


@torch.no_grad()
def test_comes_back_from_disk(tiny, tmp_path):
    tuner, model = ingredients.build("tuners", MAM), tiny("bert")
    tuner.apply(model)
    model.changes.append({"tune": tuner.describe()})
    expected = scrambled(model).backbone(input_ids=IDS).last_hidden_state
    save_model(model, tmp_path)
    again = load_saved(tmp_path, lambda spec: ingredients.build("tuners", spec))
    assert torch.equal(again.backbone(input_ids=IDS).last_hidden_state, expected)


@torch.no_grad()
def test_folds_what_is_inside_first(tiny):
    model, tuner = tiny("bert"), Together([Lora(rank=2), ScaleShift()])
    assert tuner.folds
    assert not Together([Lora(rank=2), Adapter()]).folds
    names = set(model.backbone.state_dict())
    tuner.apply(model)
    before = scrambled(model).backbone(input_ids=IDS).last_hidden_state
    tuner.fold(model)
    torch.testing.assert_close(model.backbone(input_ids=IDS).last_hidden_state, before, rtol=1e-5, atol=1e-5)
    assert set(model.backbone.state_dict()) == names


def test_a_weight_trains_where_any_of_them_trains_it(tiny):
    model, full = tiny("bert"), tiny("bert")
    Full().apply(full)
    Together([Full(), SoftPrompt(form="prefix", length=2)]).apply(model)
    assert trains(model) == trains(full) + 2 * 2 * 3 * 16


def test_one_that_does_not_fit_is_named(tiny):
    with pytest.raises(ValueError, match="adapter: the attention and feed-forward layers of this image encoder"):
        Together([Full(), Adapter()]).apply(tiny("mobilenet"))
