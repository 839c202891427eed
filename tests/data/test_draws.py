import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmstart.data import DataError, draw


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_draws_are_stratified_seeded_and_nested(classes, shots, seed, random):
    labels = [label for label in range(classes) for _ in range(random.randint(shots, shots + 5))]
    random.shuffle(labels)
    labels = np.array(labels)
    rows = draw(labels, shots, seed)
    assert np.bincount(labels[rows]).tolist() == [shots] * classes
    assert len(set(rows.tolist())) == len(rows)
    assert (rows == draw(labels, shots, seed)).all()
    for fewer in range(1, shots):
        assert set(draw(labels, fewer, seed).tolist()) <= set(rows.tolist())


def test_other_seeds_draw_other_rows():
    labels = np.repeat([0, 1], 50)
    assert len({tuple(draw(labels, 5, seed)) for seed in range(10)}) == 10


def test_none_draws_all_labelled_rows():
    assert draw(np.array([0, -1, 1]), None, 0).tolist() == [0, 2]


def test_a_class_draws_the_same_whatever_others_there_are():
    labels = np.array([0, 1, 2] * 10)
    both = draw(np.where(labels == 2, -1, labels), 3, 0)
    assert set(both.tolist()) == {row for row in draw(labels, 3, 0).tolist() if labels[row] < 2}


def test_too_few_rows_name_the_class():
    with pytest.raises(DataError, match="class 'rare' has 1 row in training, 4 asked for"):
        draw(np.array([0, 0, 0, 0, 1]), 4, 0, names=("common", "rare"))
    with pytest.raises(DataError, match="class 'absent' has 0 rows"):
        draw(np.array([0, 0]), 1, 0, names=("common", "absent"))
    with pytest.raises(DataError, match="at least 1"):
        draw(np.array([0, 1]), 0, 0)
