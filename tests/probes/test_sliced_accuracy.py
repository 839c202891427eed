import pytest
import torch

from warmstart.data.dataset import DataError
from warmstart.ingredients import build

LABELS = torch.tensor([0, 0, 0, 1, 1, 1])
ANSWERS = torch.tensor([0, 0, 1, 1, 0, 0])
SCORES = torch.nn.functional.one_hot(ANSWERS, 2).float()


def test_slices_by_class_equal_a_hand_example(answering):
    report = build("probes", "sliced_accuracy").measure(*answering(SCORES, LABELS))
    assert report["slice.a"] == pytest.approx(2 / 3)
    assert report["slice.b"] == pytest.approx(1 / 3)
    assert report["worst"] == pytest.approx(1 / 3)
    assert report["gap"] == pytest.approx(1 / 3)
    assert report["mean"] == pytest.approx(1 / 2)


def test_slices_by_group_leave_small_ones_out_of_the_worst(answering):
    subject = answering(SCORES, LABELS, group=["x", "x", "x", "x", "x", "y"])
    report = build("probes", {"sliced_accuracy": {"role": "group", "least": 2}}).measure(*subject)
    assert report["slice.y"] == 0.0
    assert report["worst"] == report["slice.x"] == pytest.approx(3 / 5)


def test_a_missing_column_is_named(answering):
    with pytest.raises(DataError, match="no column 'domain' to slice by; it has: image, label"):
        build("probes", {"sliced_accuracy": {"role": "domain"}}).measure(*answering(SCORES, LABELS))


def test_nothing_that_answers_is_said(answering):
    cast, data, _ = answering(SCORES, LABELS)
    with pytest.raises(ValueError, match="nothing answers"):
        build("probes", "sliced_accuracy").measure(cast, data)
