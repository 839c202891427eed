"""The real sets load as they are: right columns, splits, classes. Skipped where ../shared/data is absent."""

import time

import numpy as np
import pytest

from warmstart.data import load_data

SETS = [
    ("banking77", "text", (10003, None, 3080), 77),
    ("sst2", "text", (6920, 872, 1821), 2),
    ("trec_questions", "text", (5452, None, 500), 6),
    ("clinc150_oos", "text", (15000, 3000, 4500), 150),
    ("ag_news_7600", "text", (5600, None, 2000), 4),
    ("cifar10_subset", "image", (10000, None, 2000), 10),
    ("tiny_imagenet_20", "image", (2000, None, 500), 20),
    ("pacs_domains", "image", (1946, None, 834), 7),
    ("fashion_mnist_900", "image", (700, None, 200), 10),
]


@pytest.mark.parametrize(("name", "modality", "sizes", "classes"), SETS)
def test_loads_as_it_is(shared, name, modality, sizes, classes):
    splits = load_data(shared(f"data/{name}"))
    assert (len(splits.train), splits.val and len(splits.val), len(splits.test)) == sizes
    assert splits.train.modality == modality
    assert len(splits.classes) == classes
    assert set(np.unique(splits.train.labels)) == set(range(classes))
    assert not splits.skipped
    if modality == "image":
        assert splits.test.image(len(splits.test) - 1).dtype == np.uint8


def test_class_names_of_the_image_sets_stand_in_label_order(shared):
    assert load_data(shared("data/cifar10_subset")).classes[:3] == ("airplane", "automobile", "bird")
    assert load_data(shared("data/tiny_imagenet_20")).classes[0] == "tailed frog"
    assert load_data(shared("data/fashion_mnist_900")).classes[0] == "T-shirt/top"


def test_trec_has_fine_labels_too(shared):
    path = shared("data/trec_questions")
    assert load_data(path).classes == ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    assert len(load_data(path, label="fine_label").classes) == 50


def test_clinc_out_of_scope_rows_are_shifted_and_unseen(shared):
    path = shared("data/clinc150_oos")
    splits = load_data(path, shifted=path / "oos_test.csv")
    assert len(splits.shifted) == 1000
    assert splits.shifted_unseen.all()


def test_pacs_photos_to_sketches(shared):
    splits = load_data(shared("data/pacs_domains"), where={"domain": "photo"}, shifted_where={"domain": "sketch"})
    assert (len(splits.train), len(splits.test), len(splits.shifted)) == (490, 210, 204)
    assert set(splits.shifted.table["domain"].to_pylist()) == {"sketch"}
    assert not splits.shifted_unseen.any()


def test_sst2_with_names(shared):
    splits = load_data(shared("data/sst2"), label_names=["negative", "positive"])
    assert splits.classes == ("negative", "positive")
    assert splits.train.labels[0] == 1


def test_digits_from_another_scanner_are_shifted_with_the_same_classes(shared):
    folder = shared("data/digits_mnist_usps")
    splits = load_data(folder / "mnist_12k.npz", shifted=folder / "usps.npz")
    assert len(splits.shifted) == 2007
    assert splits.shifted.image(0).shape == (16, 16, 3)
    assert not splits.shifted_unseen.any()


def test_spoken_digits_by_their_named_label(shared):
    splits = load_data(shared("data/free_spoken_digits"), label="digit")
    assert (len(splits.train), len(splits.test), splits.train.modality) == (1200, 300, "audio")


def test_text_loads_fast(shared):
    path = shared("data/banking77")
    load_data(path)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        load_data(path)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.3
