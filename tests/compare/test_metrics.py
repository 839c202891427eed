import numpy as np
import pytest

from warmstart.compare.metrics import accuracy, auroc, fpr95, macro_f1


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
    values = [auroc(empty, np.ones(2)), fpr95(np.ones(2), empty), accuracy(empty, empty)]
    assert np.isnan(values).all()
    assert np.isnan(macro_f1(empty, empty))
