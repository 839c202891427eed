"""The multiplier of the peak rate, phase by phase."""

import math

import pytest

from warmstart.engine.step import Step
from warmstart.schedules.learning_rate import SHAPES, LearningRate


def values(schedule, total=100):
    return [schedule.value(Step(index, total)) for index in range(total)]


@pytest.mark.parametrize("shape", SHAPES)
def test_warm_up_is_linear_and_reaches_the_peak(shape):
    rates = values(LearningRate(shape, warmup=0.1, floor=0.01))
    assert rates[:9] == pytest.approx([(i + 1) / 10 for i in range(9)])
    assert max(rates) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", ["cosine", "linear", "wsd", "infinite"])
def test_ends_at_the_floor(shape):
    assert values(LearningRate(shape, floor=0.05))[-1] == pytest.approx(0.05)


def test_cosine_is_half_way_in_the_middle():
    rates = values(LearningRate("cosine", warmup=0.0))
    assert rates[49] == pytest.approx(0.5)
    assert rates[24] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_constant_without_warm_up_is_one_from_the_first_update():
    assert values(LearningRate("constant", warmup=0.0), 5) == [1.0] * 5


def test_warmup_stable_decay_is_stable_until_the_last_share():
    rates = values(LearningRate("wsd", warmup=0.1, decay=0.2))
    assert rates[9:80] == pytest.approx([1.0] * 71)
    assert rates[89] == pytest.approx(0.5)
    assert all(a > b for a, b in zip(rates[80:], rates[81:], strict=False))


def test_infinite_cools_to_a_constant_and_anneals_only_at_the_end():
    rates = values(LearningRate("infinite", warmup=0.1, cooldown=0.3, hold=0.4, decay=0.1, floor=0.1))
    assert rates[9] == pytest.approx(1.0)
    assert rates[24] == pytest.approx(0.7)
    assert rates[40:90] == pytest.approx([0.4] * 50)
    assert rates[94] == pytest.approx(math.sqrt(0.4 * 0.1))
    assert values(LearningRate("infinite", hold=0.4, decay=0.0))[-1] == pytest.approx(0.4), "ready to go on"


def test_impossible_phases_are_refused():
    with pytest.raises(ValueError, match="shape is one of cosine"):
        LearningRate("cosin")
    with pytest.raises(ValueError, match="warmup is a share"):
        LearningRate(warmup=100)
    with pytest.raises(ValueError, match="cannot reach 0"):
        LearningRate("infinite")
