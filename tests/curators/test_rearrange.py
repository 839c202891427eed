"""Images are moved exactly, and every copy is named."""

import numpy as np
import pyarrow as pa
import pytest

from warmstart.curators.rearrange import Rearrange
from warmstart.data.dataset import DataError, Dataset


def rows(*images):
    pixels = pa.array([_encoded(image) for image in images], pa.binary())
    labels = pa.array(range(len(images)), pa.int64())
    return Dataset(
        pa.table({"image": pixels, "label": labels}), {"image": "image", "label": "label"}, ("a", "b"), "two"
    )


def _encoded(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


def test_every_kind_of_every_row(pixels):
    made = Rearrange().curate(rows(*pixels), None, 0)
    assert made.table["domain"].to_pylist() == [
        kind for kind in ("upright", "rotated", "inverted", "flipped", "shifted") for _ in range(2)
    ]
    assert made.labels.tolist() == [0, 1] * 5
    x = pixels[1]
    expected = [x, np.rot90(x), 255 - x, x[:, ::-1], np.roll(np.roll(x, 2, 0), 2, 1)]
    for place, image in zip(range(1, 10, 2), expected, strict=True):
        assert np.array_equal(made.image(place), image)


def test_refuses_what_it_cannot_do(pixels):
    with pytest.raises(ValueError, match="no arrangement 'mirrored'; there are: upright"):
        Rearrange(("mirrored",))
    with pytest.raises(DataError, match="square images of one size"):
        Rearrange().curate(rows(pixels[0], pixels[0][:4]), None, 0)
