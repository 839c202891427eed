import copy

import pytest
import torch
from tiny_models import tiny  # noqa: F401

from warmstart.engine.cast import Cast
from warmstart.probes.change_overlap import ChangeOverlap
from warmstart.tuners.lora import Lora


def measured(start, one, two, **tuners) -> dict:
    cast = Cast(start, start=start, one=one, two=two)
    return ChangeOverlap("@one", "@two", **tuners).measure(cast, None)


@torch.no_grad()
def test_is_computed_over_all_entries_of_the_backbone(tiny):  # noqa: F811
    start = tiny("bert")
    one, two = copy.deepcopy(start), copy.deepcopy(start)
    weight = "encoder.layer.0.output.dense.weight"
    one.backbone.get_parameter(weight)[0, :4] += 1.0
    two.backbone.get_parameter(weight)[0, 2:8] += 3.0
    found = measured(start, one, two)
    assert found["changed"] == 4
    assert found["shared"] == pytest.approx(2 / 8)
    assert found["cosine"] == pytest.approx(2 / (2 * 6**0.5), abs=1e-5)
    assert found["interference"] == pytest.approx(3.0, abs=1e-5)


@torch.no_grad()
def test_changes_of_other_weights_do_not_meet(tiny):  # noqa: F811
    start, models = tiny("bert"), []
    for target in ("block.0.ffn.in", "block.1.ffn.in"):
        tuner = Lora(rank=1, targets=[target])
        models.append((copy.deepcopy(start), tuner))
        tuner.apply(models[-1][0])
        for name, parameter in models[-1][0].named_parameters():
            if "lora_B" in name:
                parameter.fill_(1.0)
    (one, first), (two, second) = models
    found = measured(start, one, two, first_tuner=first, second_tuner=second)
    assert found["shared"] == found["interference"] == found["cosine"] == 0
    assert "lora" in str(one.backbone).lower()
