"""A content-addressed store of what was computed from rows: memory-mapped, checksummed, safe to share.

A store is a folder for one key (weights, transform, precision, what was computed). It holds segments, written
once under a temporary name and renamed into place, so that runs may share it while they write.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..data.cache import cache_folder, cache_limit
from ..data.dataset import DataError

_BLOCK = 1 << 24
_ABANDONED = 24 * 3600
_IN_USE = 3600
_FILES = ("keys.npy", "counts.npy", "data.npy")

# Segments whose content was read and compared: reading all of it again at every use would cost more than it saves.
_verified: dict[Path, tuple] = {}


class Store:
    """Values by row key: row i owns `counts[i]` consecutive entries of a flat array.

    One entry a row for pooled features, as many as real tokens for token states.
    Where all stores together have grown beyond `cache_limit`, the segments that were not used for longest go, but none
    of the last hour. Raises DataError, one line, where the file system refuses to write.
    """

    def __init__(self, key: str, root: Path | None = None):
        self.folder = (root or cache_folder()) / "features" / key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def segments(self) -> list[Segment]:
        """The intact segments; a damaged one is removed, and its rows are computed again."""
        found = []
        for path in sorted(self.folder.glob("segment-*")):
            segment = Segment(path)
            if segment.intact():
                found.append(segment)
                _note_use(path)
            else:
                shutil.rmtree(path, ignore_errors=True)
        return found

    def write(self, keys: np.ndarray, counts: np.ndarray, entry: tuple[int, ...], values: Iterator) -> Segment:
        """Append rows. values: yields (row, array (counts[row], *entry)) in any order, each row once."""
        path = self.folder / f"tmp-{uuid.uuid4().hex}"
        self._sweep()
        try:
            path.mkdir()
            with open(path / "data.npy", "wb") as file:
                _write_rows(file, counts, entry, values)
            np.save(path / "keys.npy", keys)
            np.save(path / "counts.npy", counts)
            (path / "checksum").write_text(_checksum(path))
            final = self.folder / f"segment-{uuid.uuid4().hex}"
            path.rename(final)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        finally:
            shutil.rmtree(path, ignore_errors=True)
        _prune(self.folder.parent, cache_limit())
        return Segment(final)

    def _sweep(self) -> None:
        """Remove what runs left that were killed while they wrote."""
        for path in self.folder.glob("tmp-*"):
            try:
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(path, ignore_errors=True)
            except FileNotFoundError:
                continue


def _note_use(path: Path) -> None:
    # Another run may have removed it, or it belongs to another user.
    with contextlib.suppress(OSError):
        os.utime(path)


def _prune(root: Path, limit: float) -> None:
    """Remove the segments that were not used for longest, until all of them take `limit` bytes at most."""
    found = []
    for path in root.glob("*/segment-*"):
        try:
            found.append((path.stat().st_mtime, sum(file.stat().st_size for file in path.iterdir()), path))
        except FileNotFoundError:
            continue
    total, recent = sum(size for _, size, _ in found), time.time() - _IN_USE
    for used, size, path in sorted(found):
        if total <= limit or used > recent:
            return
        shutil.rmtree(path, ignore_errors=True)
        total -= size


class Segment:
    """Some rows of a store, as one run wrote them."""

    def __init__(self, path: Path):
        self.path = path

    def intact(self) -> bool:
        """Whether the files hold what was written; read once in a process, as long as they do not change."""
        try:
            state = tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in (os.stat(self.path / n) for n in _FILES))
            if _verified.get(self.path) != state:
                if (self.path / "checksum").read_text() != _checksum(self.path):
                    return False
                _verified[self.path] = state
            return True
        except OSError:
            return False

    @property
    def keys(self) -> np.ndarray:
        return np.load(self.path / "keys.npy", allow_pickle=False)

    @property
    def starts(self) -> np.ndarray:
        counts = np.load(self.path / "counts.npy", allow_pickle=False)
        return np.concatenate([[0], np.cumsum(counts)])

    @property
    def data(self) -> np.ndarray:
        """Mapped, not read; what is written to the array never reaches the file."""
        return np.load(self.path / "data.npy", mmap_mode="c", allow_pickle=False)


def spill(counts: np.ndarray, entry: tuple[int, ...], values: Iterator) -> np.ndarray:
    """Rows as `Store.write` takes them, in a file that is gone with the array: for what need not fit into memory."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            shape, begin = _write_rows(file, counts, entry, values)
            return np.memmap(file, np.float32, "c", begin, shape)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _write_rows(file: BinaryIO, counts: np.ndarray, entry: tuple[int, ...], values: Iterator) -> tuple[tuple, int]:
    """An .npy file; returns the array's shape, and where it begins.

    By plain writes, not through a map: written pages would count as memory of this process.
    """
    starts = np.concatenate([[0], np.cumsum(counts)])
    shape = (int(starts[-1]), *entry)
    size = 4 * int(np.prod(entry, dtype=np.int64))
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    begin = file.tell()
    for row, value in values:
        file.seek(begin + size * int(starts[row]))
        file.write(np.ascontiguousarray(value, dtype="<f4").data)
    file.flush()
    return shape, begin


def _checksum(path: Path) -> str:
    total = 0
    for name in _FILES:
        with open(path / name, "rb") as file:
            while block := file.read(_BLOCK):
                total = zlib.crc32(block, total)
    return f"{total:08x}"


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder}: features cannot be kept: {error.strerror or error}; free some space, or name another folder "
        "in WARMSTART_CACHE"
    )
