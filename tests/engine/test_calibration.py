import numpy as np
import pytest

from warmstart.engine.calibration import expected_calibration_error


def test_ece_of_hand_computed_bins():
    # bin (0.8, 0.9]: mean confidence 0.85, half right, 2 of 4 rows; bin (0.4, 0.5]: 0.45, all right, 2 of 4
    confidence, correct = np.array([0.82, 0.88, 0.44, 0.46]), np.array([True, False, True, True])
    assert expected_calibration_error(confidence, correct, bins=10) == pytest.approx(0.5 * 0.35 + 0.5 * 0.55)


def test_ece_is_zero_when_confidence_is_accuracy():
    assert expected_calibration_error(np.full(4, 0.75), np.array([1, 1, 1, 0])) == pytest.approx(0)
    assert expected_calibration_error(np.ones(3), np.ones(3)) == 0


def test_ece_takes_the_ends_of_the_scale():
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([1, 0]), bins=2) == pytest.approx(1)


def test_nothing_to_measure_is_nan():
    assert np.isnan(expected_calibration_error(np.array([]), np.array([])))
