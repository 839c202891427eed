"""Whatever is wrong with a file's bytes, the user meets a DataError of one line and never a traceback."""

import io
import random
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warmstart.data import DataError, load_data

from PIL import Image  # isort: skip

ROWS = 12


def whole_csv() -> bytes:
    return ("text,label\n" + "".join(f'"t, ""{i}""",{"ab"[i % 2]}\n' for i in range(ROWS))).encode()


def whole_jsonl() -> bytes:
    return "".join(f'{{"text": "t{i}", "label": {i % 2}}}\n' for i in range(ROWS)).encode()


def whole_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.arange(ROWS * 16, dtype=np.uint8).reshape(ROWS, 4, 4), y=np.arange(ROWS) % 2)
    return buffer.getvalue()


def whole_parquet() -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"text": [f"t{i}" for i in range(ROWS)], "label": [i % 2 for i in range(ROWS)]})
    pq.write_table(table, buffer)
    return buffer.getvalue()


def whole_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for i in range(ROWS):
            image = io.BytesIO()
            Image.new("RGB", (8, 8), (i, 9 * i, 0)).save(image, "PNG" if i % 2 else "JPEG")
            file.writestr(f"{i}.png", image.getvalue())
    return buffer.getvalue()


def damage(data: bytes, rng: random.Random) -> bytes:
    data = bytearray(data)
    for _ in range(rng.choice([1, 2, 8])):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.randrange(1, 40)]
        elif kind == 2:
            data[at:at] = bytes(rng.choices(b'",\n\r\0{}[]\xff;\t../', k=4))
        else:
            del data[max(at, 1) :]
        data = data or bytearray(b"x")
    return bytes(data)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "npz", "parquet", "zip"])
@given(seed=st.integers(0, 10**6), skip_bad=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_end_in_one_line(write, kind, seed, skip_bad):
    whole = {"csv": whole_csv, "jsonl": whole_jsonl, "npz": whole_npz, "parquet": whole_parquet, "zip": whole_zip}
    data = damage(whole[kind](), random.Random(seed))
    if kind == "zip":
        write("zip/images.zip", data)
        source = write("zip/labels.csv", ["file,label", *[f"{i}.png,{i % 2}" for i in range(ROWS)]]).parent
    else:
        source = write(f"d.{kind}", data)
    message = None
    try:
        splits = load_data(source, skip_bad=skip_bad)
    except DataError as error:
        message = str(error)
    if message is not None:
        assert "\n" not in message
    elif kind == "zip" and skip_bad:
        for part in (splits.train, splits.test):
            assert all(part.image(row).shape[2] == 3 for row in range(len(part)))
