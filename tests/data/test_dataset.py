import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from warmstart.data import DataError, Dataset
from warmstart.data.dataset import decode_image


def test_importing_the_package_imports_no_library():
    code = "import sys, warmstart.data; print([m for m in ('numpy', 'pyarrow', 'PIL', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_loading_text_imports_no_scikit_learn(table):
    code = (
        "import sys; from warmstart.data import load_data; load_data(sys.argv[1]);"
        "print([m for m in ('torch', 'sklearn', 'datasets', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(table())], capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_the_package_is_a_verb(table):
    import warmstart as ws

    assert len(ws.data(table(), test_share=0.5).test) == 4


def test_rows_keep_their_roles_through_take_and_without():
    data = Dataset(
        pa.table({"text": ["x", "y", "z"], "label": pa.array([1, None, 0])}),
        {"text": "text", "label": "label"},
        ("a", "b"),
    )
    assert data.labels.tolist() == [1, -1, 0]
    assert data.take([2, 0]).texts() == ["z", "x"]
    bare = data.without("label")
    assert (bare.roles, bare.classes, len(bare)) == ({"text": "text"}, (), 3)
    with pytest.raises(DataError, match="no label column"):
        bare.labels  # noqa: B018
    assert data.place(1) == "data row 2"


def test_keys_of_tensors_follow_take():
    pixels = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
    data = Dataset(pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)}), {"image": "image"})
    keys = data.row_keys()
    assert len(set(keys.tolist())) == 4
    assert (data.take([3, 1, 3]).row_keys() == keys[[3, 1, 3]]).all()
    np.testing.assert_array_equal(data.take([3]).image(0)[:, :, 0], pixels[3])


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK"])
def test_every_colour_mode_decodes_to_rgb(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decode_image(encoded(Image.new(mode, (5, 3)), kind)).shape == (3, 5, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 12).astype(np.uint16).reshape(3, 4)
    decoded = decode_image(encoded(Image.fromarray(ramp)))
    np.testing.assert_array_equal(decoded[:, :, 0], (ramp // 257).astype(np.uint8))


def test_formats_that_run_programs_are_not_opened():
    with pytest.raises(DataError, match="not a readable image"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
