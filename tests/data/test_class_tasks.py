"""Many tasks made of the classes of one set."""

import numpy as np
import pytest

from warmstart.data.dataset import DataError
from warmstart.data.load import load_data


@pytest.fixture(scope="module")
def splits():
    return load_data("digits", tasks={"count": 6, "ways": 3, "rows": 4, "test_rows": 5, "seed": 1})


def test_every_task_has_its_rows_of_its_classes(splits):
    for data, most in ((splits.train, 4), (splits.test, 5)):
        tasks = data.table["task"].to_numpy()
        assert data.classes == ("1", "2", "3")
        for task in range(6):
            assert np.bincount(data.labels[tasks == task]).tolist() == [most] * 3


def test_a_class_is_its_place_in_the_task_in_training_and_test(splits):
    plain = load_data("digits")
    classes = {}
    for data, source in ((splits.train, plain.train), (splits.test, plain.test)):
        known = dict(zip(source.row_keys().tolist(), source.labels.tolist(), strict=True))
        rows = zip(data.table["task"].to_pylist(), data.labels.tolist(), data.row_keys().tolist(), strict=True)
        for task, label, key in rows:
            assert classes.setdefault((task, label), known[key]) == known[key]
    sets = [[classes[task, label] for label in range(3)] for task in range(6)]
    assert all(len(set(one)) == 3 for one in sets)
    assert len({tuple(one) for one in sets}) == 6


def test_training_and_test_rows_stay_apart(splits):
    assert not set(splits.train.row_keys().tolist()) & set(splits.test.row_keys().tolist())


@pytest.mark.parametrize(("tasks", "said"), [({"count": 3, "ways": 30}, "10 classes"), ({"number": 3}, "count")])
def test_says_what_cannot_be_made(tasks, said):
    with pytest.raises(DataError, match=said):
        load_data("digits", tasks=tasks)
