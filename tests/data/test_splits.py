import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmstart.data import DataError, load_data
from warmstart.data.splits import by_group, by_time, stratified


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.floats(0.05, 0.95), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_stratified_keeps_every_class_in_training(labels, share, seed):
    labels = np.array(labels)
    test = stratified(labels, share, seed)
    for label in np.unique(labels):
        rows = labels == label
        assert (rows & ~test).any()
        if rows.sum() > 1:
            assert (rows & test).any()
            assert abs((rows & test).sum() - share * rows.sum()) <= 1
    assert (test == stratified(labels, share, seed)).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=60), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_no_group_stands_on_both_sides(rows, seed):
    labels = np.unique([label for label, _ in rows], return_inverse=True)[1]
    groups = np.array([str(group) for _, group in rows], dtype=object)
    try:
        test = by_group(labels, groups, 0.3, seed)
    except DataError:
        return
    assert not set(groups[test]) & set(groups[~test])
    assert set(labels[~test]) == set(labels)


def test_groups_bring_about_the_share_asked_for():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 2000), rng.integers(0, 100, 2000)
    test = by_group(labels, groups, 0.2, 0)
    assert 0.15 < test.mean() < 0.25
    assert (test != by_group(labels, groups, 0.2, 1)).any()


def test_the_latest_rows_are_test_and_ties_stay_together():
    times = np.array([5, 1, 2, 3, 4, 5, 5, 0, 1, 2], dtype=float)
    assert times[by_time(times, 0.2)].tolist() == [5, 5, 5]
    assert by_time(np.array([1.0, 1, 1, 2]), 0.9).tolist() == [False, False, False, True]


def test_splits_that_cannot_be_made(write):
    one_group = write("g.csv", ["text,label,who", "x,a,me", "y,b,me", "z,a,me"])
    with pytest.raises(DataError, match="g.csv: all rows are of one group"):
        load_data(one_group, group="who")
    one_time = write("t.csv", ["text,label,year", "x,a,1990", "y,b,1990"])
    with pytest.raises(DataError, match="t.csv: all rows have the same time"):
        load_data(one_time, time="year")
    singles = write("s.csv", ["text,label", "x,a", "y,b"])
    with pytest.raises(DataError, match="s.csv: every class has one row only"):
        load_data(singles)


def test_split_by_group_column(write):
    path = write("d.csv", ["text,label,who", *[f"t{i},{'ab'[i % 2]},p{i // 4}" for i in range(40)]])
    splits = load_data(path, group="who")
    assert splits.train.roles["group"] == "group"
    assert not set(splits.train.table["group"].to_pylist()) & set(splits.test.table["group"].to_pylist())


@pytest.mark.parametrize("dates", [["2020-01-01", "2020-01-02T10:00:00", "2021-05-05", "2022-01-01"], list("1234")])
def test_split_by_time_column(write, dates):
    rows = [f"t{i}{label},{label},{date}" for i, date in enumerate(dates) for label in "ab"]
    splits = load_data(write("d.csv", ["text,label,when", *reversed(rows)]), time="when", test_share=0.25)
    assert sorted(splits.test.texts()) == ["t3a", "t3b"]
    assert splits.train.table["time"].to_numpy().max() < splits.test.table["time"].to_numpy().min()


def test_time_that_is_none(write):
    path = write("d.csv", ["text,label,when", "x,a,1", "y,b,yesterday", "z,a,3", "w,b,4"])
    with pytest.raises(DataError, match=r"row 2 \(line 3\): 'when' holds no number and no ISO date"):
        load_data(path, time="when")


def test_given_splits_with_shared_groups_are_told(write, tmp_path):
    write("train.csv", ["text,label,who", "x,a,me", "y,b,you"])
    write("test.csv", ["text,label,who", "z,a,me", "w,b,them"])
    assert any("1 groups stand in both" in line for line in load_data(tmp_path, group="who").warnings)
