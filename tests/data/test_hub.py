import io

import numpy as np
import pytest
from PIL import Image

from warmstart.data import DataError, load_data

datasets = pytest.importorskip("datasets")


def rows(n, label=lambda i: i % 2):
    return {"text": [f"t{n}{i}" for i in range(n)], "label": [label(i) for i in range(n)]}


def test_dataset_object_with_class_labels():
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    splits = load_data(datasets.Dataset.from_dict(rows(10), features=features))
    assert splits.classes == ("neg", "pos")
    assert len(splits.test) == 2


def test_dataset_dict_with_unlabelled_test_and_unsupervised_rows():
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    parts = {
        "train": rows(8),
        "validation": rows(6),
        "test": rows(4, lambda i: -1),
        "unsupervised": rows(3, lambda i: -1),
    }
    loaded = load_data(
        datasets.DatasetDict({k: datasets.Dataset.from_dict(v, features=features) for k, v in parts.items()})
    )
    assert (len(loaded.train), len(loaded.test), loaded.val, len(loaded.unlabeled)) == (8, 6, None, 3)
    assert any("no labels and is not used" in line for line in loaded.warnings)


@pytest.mark.parametrize("on_disk", [False, True])
def test_images_of_datasets(tmp_path, on_disk):
    images = []
    for i in range(6):
        image = Image.fromarray(np.full((4, 4, 3), i, np.uint8))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        (tmp_path / f"{i}.png").write_bytes(buffer.getvalue())
        images.append(str(tmp_path / f"{i}.png") if on_disk else image)
    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    made = datasets.Dataset.from_dict({"img": images, "label": [0, 1] * 3}, features=features)
    train = load_data(made).train
    assert train.modality == "image"
    assert train.image(0).shape == (4, 4, 3)


def test_class_names_survive_in_parquet(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    datasets.Dataset.from_dict(rows(10), features=features).to_parquet(tmp_path / "d.parquet")
    assert load_data(tmp_path / "d.parquet").classes == ("neg", "pos")


def test_hub_id_without_network_says_so():
    with pytest.raises(DataError, match="is no file, folder or embedded set here and did not load from the hub"):
        load_data("no-such-owner/no-such-data-set")


def test_streams_are_refused():
    stream = datasets.Dataset.from_dict(rows(4)).to_iterable_dataset()
    with pytest.raises(DataError, match="cannot be read in full"):
        load_data(stream)
