"""Any value, from one number to another over a part of the run."""

import pytest

from warmstart.engine.step import Step, number
from warmstart.ingredients import build
from warmstart.schedules.ramp import Ramp


def values(schedule, total=11):
    return [schedule.value(Step(index, total)) for index in range(total)]


def test_linear_goes_straight_from_start_to_stop():
    assert values(Ramp(2.0, 4.0)) == pytest.approx([2 + 0.2 * i for i in range(11)])


def test_begin_and_end_are_shares_of_the_run():
    expected = [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert values(Ramp(begin=0.2, end=0.6)) == pytest.approx(expected)


def test_cosine_starts_and_ends_flat():
    rates = values(Ramp(1.0, 0.0, shape="cosine"))
    assert rates[0] == 1
    assert rates[-1] == 0
    assert rates[5] == pytest.approx(0.5)
    assert rates[0] - rates[1] < rates[4] - rates[5]


def test_step_jumps_in_equal_levels():
    assert values(Ramp(0.0, 1.0, shape="step", levels=2)) == [0] * 5 + [0.5] * 5 + [1]
    assert values(Ramp(3.0, 7.0, end=0.5, shape="step")) == [3] * 5 + [7] * 6


def test_stands_in_any_number_that_may_be_a_schedule():
    view = build("views", {"mask_sampler": {"ratio": {"ramp": {"start": 0.2, "stop": 0.8}}}})
    assert number(view.ratio, Step(5, 11)) == pytest.approx(0.5)
    assert number(0.3, Step()) == 0.3


def test_shares_out_of_order_are_refused():
    with pytest.raises(ValueError, match="begin < end"):
        Ramp(begin=0.6, end=0.2)
