import io
import zipfile

import numpy as np
import pytest
from PIL import Image


def png(value=0, size=(4, 4), mode="RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def picture():
    """picture(value) -> the bytes of a small PNG whose content depends on the value."""
    return lambda value=0, size=(4, 4): png((value % 256, value // 256 % 256, 7), size)


@pytest.fixture
def write(tmp_path):
    """write(name, content) -> path; text, bytes, or a list of csv rows."""

    def put(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "\n".join(content) + "\n"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


@pytest.fixture
def table(write):
    """table(name, n) -> a csv of n distinct texts, labels a and b in turns."""

    def put(name="data.csv", n=10, start=0, header="text,label"):
        rows = [f"text {start + i},{'ab'[i % 2]}" for i in range(n)]
        return write(name, [header, *rows])

    return put


@pytest.fixture
def archive(tmp_path):
    """archive(name, {member: bytes}) -> a zip."""

    def put(name, members):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as file:
            for member, content in members.items():
                file.writestr(member, content)
        return path

    return put


@pytest.fixture
def save_npz(tmp_path):
    def put(name="data.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **arrays)
        return path

    return put
