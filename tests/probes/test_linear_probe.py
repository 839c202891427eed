import numpy as np
import pytest

from warmstart.data.dataset import DataError, Splits
from warmstart.engine.cast import Cast
from warmstart.ingredients import build


@pytest.fixture
def data(make_images):
    labels = np.arange(120) % 4
    groups = [f"g{i % 3}" for i in range(120)]
    classes = tuple("abcd")
    return Splits(
        train=make_images(labels, classes, seed=1, group=groups),
        test=make_images(labels, classes, seed=2, group=groups),
    )


def test_reads_out_what_is_linearly_there(model, data):
    report = build("probes", "linear_probe").measure(Cast(model), data)
    assert report["accuracy"] > 0.95
    assert report["nll"] < 0.5
    assert report["train_rows"] == 120


def test_finds_nothing_where_nothing_is(model, data):
    report = build("probes", {"linear_probe": {"role": "group"}}).measure(Cast(model), data)
    assert report["accuracy"] < 0.6


def test_takes_shots_of_each_class(model, data):
    report = build("probes", {"linear_probe": {"shots": 2, "predictor": "nearest_mean"}}).measure(Cast(model), data)
    assert report["train_rows"] == 8


def test_keeps_the_parameters_that_are_given(model, data):
    weak = build("probes", {"linear_probe": {"predictor": {"logistic": {"C": 1e-6}}}})
    assert weak.measure(Cast(model), data)["nll"] != build("probes", "linear_probe").measure(Cast(model), data)["nll"]
    assert weak.describe() == {"linear_probe": {"predictor": {"logistic": {"C": 1e-6}}}}


def test_a_missing_column_is_named(model, data):
    with pytest.raises(DataError, match="no column 'domain'"):
        build("probes", {"linear_probe": {"role": "domain"}}).measure(Cast(model), data)
