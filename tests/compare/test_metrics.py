import numpy as np
import pytest

from warmstart.compare.metrics import accuracy, auroc, ece, fpr95, macro_f1


def test_ece_of_hand_computed_bins():
    # bin (0.8, 0.9]: mean confidence 0.85, half right, 2 of 4 rows; bin (0.4, 0.5]: 0.45, all right, 2 of 4
    confidence, correct = np.array([0.82, 0.88, 0.44, 0.46]), np.array([True, False, True, True])
    assert ece(confidence, correct, bins=10) == pytest.approx(0.5 * 0.35 + 0.5 * 0.55)


def test_ece_is_zero_when_confidence_is_accuracy():
    assert ece(np.full(4, 0.75), np.array([1, 1, 1, 0])) == pytest.approx(0)
    assert ece(np.ones(3), np.ones(3)) == 0


def test_ece_takes_the_ends_of_the_scale():
    assert ece(np.array([0.0, 1.0]), np.array([1, 0]), bins=2) == pytest.approx(1)


def test_auroc_counts_ordered_pairs():
    assert auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_fpr95_accepts_95_percent_of_known_rows():
    known = np.arange(1, 101)  # the 95 highest start at 6
    assert fpr95(known, np.array([5, 6, 90, 1])) == pytest.approx(0.5)
    assert fpr95(np.array([0.9, 0.8]), np.array([0.1])) == 0


def test_macro_f1_weighs_classes_equally():
    labels, predictions = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    assert accuracy(labels, predictions) == 0.75
    assert macro_f1(labels, predictions) == pytest.approx((6 / 7 + 0) / 2)


def test_nothing_to_measure_is_nan():
    empty = np.array([])
    values = [ece(empty, empty), auroc(empty, np.ones(2)), fpr95(np.ones(2), empty), accuracy(empty, empty)]
    assert np.isnan(values).all()
    assert np.isnan(macro_f1(empty, empty))
