"""Rows chosen so that a role goes with the class in a share of them."""

import numpy as np
import pyarrow as pa
import pytest

from warmstart.data.dataset import DataError, Dataset
from warmstart.ingredients import build


def rows(count=1200):
    generator = np.random.default_rng(0)
    table = pa.table(
        {"text": [str(i) for i in range(count)], "label": generator.integers(0, 4, count),
         "colour": generator.choice(["blue", "green", "red"], count)}
    )  # fmt: skip
    return Dataset(table, {"text": "text", "label": "label", "colour": "colour"}, ("a", "b", "c", "d"), "coloured")


def agreement(data):
    goes = np.array(["blue", "green", "red"])[data.labels % 3]
    return (np.array(data.table["colour"].to_pylist()) == goes).mean()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 1.0])
def test_the_share_of_rows_that_agree_is_as_asked(share):
    data = rows()
    found = build("curators", {"correlate": {"role": "colour", "share": share}}).curate(data, None, 0)
    assert agreement(found) == pytest.approx(share, abs=0.01)
    texts = found.table["text"].to_pylist()
    assert len(set(texts)) == len(texts)
    assert set(found.labels) == {0, 1, 2, 3}
    # As many rows as have the share: all that agree where more are asked for than there are.
    if share >= 0.9:
        assert len(found) == pytest.approx(agreement(data) * len(data) / share, rel=0.01)


def test_draws_depend_on_the_seed_alone():
    curator = build("curators", {"correlate": {"role": "colour", "share": 0.2}})
    one, same, other = (curator.curate(rows(), None, seed).table["text"].to_pylist() for seed in (0, 0, 1))
    assert one == same != other


def test_faults_are_named():
    with pytest.raises(DataError, match="no column 'ground' to correlate; it has: text, label, colour"):
        build("curators", {"correlate": {"role": "ground"}}).curate(rows(), None, 0)
    with pytest.raises(ValueError, match=r"share lies in \[0, 1\]"):
        build("curators", {"correlate": {"role": "colour", "share": 2.0}})
