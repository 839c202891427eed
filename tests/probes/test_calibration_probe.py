import numpy as np
import pytest
import torch

from warmstart.engine.calibration import brier_score, expected_calibration_error, reliability
from warmstart.ingredients import IngredientError, build


def test_ece_equals_a_hand_example():
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False])
    assert expected_calibration_error(confidence, correct, bins=10) == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)


def test_bins_are_closed_on_the_right_and_confidence_one_is_in_the_last():
    found = reliability(np.array([0.0, 0.5, 0.500001, 1.0]), np.array([0, 1, 0, 1]), bins=2)
    assert found.count.tolist() == [2, 2]
    assert found.confidence[0] == pytest.approx(0.25)
    assert found.accuracy.tolist() == [0.5, 0.5]


def test_empty_bins_are_nan_and_do_not_count():
    found = reliability(np.array([0.9]), np.array([True]), bins=3)
    assert np.isnan(found.accuracy[:2]).all()
    assert expected_calibration_error(np.array([0.9]), np.array([True]), bins=3) == pytest.approx(0.1)


def test_brier_equals_a_hand_example():
    probabilities = np.array([[0.8, 0.2], [0.3, 0.7]])
    assert brier_score(probabilities, np.array([0, 0])) == pytest.approx((0.04 + 0.04 + 0.49 + 0.49) / 2)


def test_a_model_that_is_twice_too_sure_has_temperature_two(answering):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 3, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    report = build("probes", {"calibration": {"bins": 10}}).measure(*answering(2 * logits, labels))
    assert report["temperature"] == pytest.approx(2.0, rel=0.1)
    assert report["overconfidence"] > 0.05
    assert report["ece"] == pytest.approx(report["overconfidence"], abs=0.02)
    assert sum(report["bin_count"]) == 4000
    assert report["bin_confidence"][0] is None


def test_no_bins_is_refused():
    with pytest.raises(IngredientError, match="bins is 0"):
        build("probes", {"calibration": {"bins": 0}})
