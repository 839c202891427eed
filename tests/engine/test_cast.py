"""The named models of a run."""

import pytest
import torch
from tiny_models import tiny_rows

from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.tuners.lora import Lora


def test_a_frozen_member_stays_as_it_was_and_has_its_own_towers(tiny):
    cast = Cast(tiny("bert"))
    twin = cast.freeze("start")
    batch = Rows(cast.model, tiny_rows("text")).batch([0, 1])
    before = twin.encode(batch).pooled
    with torch.no_grad():
        for parameter in cast.model.parameters():
            parameter.add_(1)
    cast.refresh()
    assert torch.equal(cast["start"].encode(batch).pooled, before)
    assert not any(parameter.requires_grad for parameter in twin.parameters())


def test_an_average_follows_its_formula_and_copies_buffers(tiny):
    cast = Cast(tiny("mobilenet"))
    cast.average("teacher", 0.9)
    model, teacher = dict(cast.model.named_parameters()), dict(cast["teacher"].named_parameters())
    start = {name: tensor.detach().clone() for name, tensor in teacher.items()}
    with torch.no_grad():
        for parameter in cast.model.parameters():
            parameter.add_(1)
        for buffer in cast.model.buffers():
            buffer.add_(1)
    for _ in range(2):
        cast.refresh()
    for name, tensor in teacher.items():
        expected = 0.81 * start[name] + 0.19 * model[name].detach()
        torch.testing.assert_close(tensor, expected)
    assert all(torch.equal(a, b) for a, b in zip(cast["teacher"].buffers(), cast.model.buffers(), strict=True))


def test_an_average_of_a_model_that_got_new_weights_is_copied_again(tiny):
    cast = Cast(tiny("bert"))
    cast.average("teacher", 0.5)
    Lora(rank=2).apply(cast.model)
    cast.rebuild()
    cast.refresh()
    assert dict(cast["teacher"].named_parameters()).keys() == dict(cast.model.named_parameters()).keys()


def test_given_members_are_found_by_name(tiny):
    teacher = tiny("bert")
    cast = Cast(tiny("bert"), teacher=teacher)
    assert cast["teacher"] is teacher
    assert "teacher" in cast
    assert list(cast) == ["model", "teacher"]
    with pytest.raises(LookupError, match="no member 'judge' in this run; it has: model, teacher"):
        cast["judge"]


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_outside_its_range_is_refused(tiny, rate):
    with pytest.raises(ValueError, match=r"lies in \[0, 1\)"):
        Cast(tiny("bert")).average("teacher", rate)
