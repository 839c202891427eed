"""A content-addressed store of what was computed from rows: memory-mapped, checksummed, safe to share.

A store is a folder for one key (weights, transform, precision, what was computed). It holds segments, written
once under a temporary name and renamed into place, so that runs may share it while they write.
"""

from __future__ import annotations

import os
import shutil
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_BLOCK = 1 << 24


def cache_folder() -> Path:
    """$WARMSTART_CACHE, else ~/.cache/warmstart."""
    return Path(os.environ.get("WARMSTART_CACHE") or Path.home() / ".cache" / "warmstart")


class Store:
    """Values by row key: row i owns `counts[i]` consecutive entries of a flat array.

    One entry a row for pooled features, as many as real tokens for token states.
    """

    def __init__(self, key: str, root: Path | None = None):
        self.folder = (root or cache_folder()) / "features" / key
        self.folder.mkdir(parents=True, exist_ok=True)

    def segments(self) -> list[Segment]:
        """The intact segments; a damaged one is removed, and its rows are computed again."""
        found = []
        for path in sorted(self.folder.glob("segment-*")):
            segment = Segment(path)
            if segment.intact():
                found.append(segment)
            else:
                shutil.rmtree(path, ignore_errors=True)
        return found

    def write(self, keys: np.ndarray, counts: np.ndarray, entry: tuple[int, ...], values: Iterator) -> Segment:
        """Append rows. values: yields (row, array (counts[row], *entry)) in any order, each row once."""
        path = self.folder / f"tmp-{uuid.uuid4().hex}"
        path.mkdir()
        try:
            starts = np.concatenate([[0], np.cumsum(counts)])
            data = np.lib.format.open_memmap(
                path / "data.npy", mode="w+", dtype=np.float32, shape=(int(starts[-1]), *entry)
            )
            for row, value in values:
                data[starts[row] : starts[row + 1]] = value
            data.flush()
            del data
            np.save(path / "keys.npy", keys)
            np.save(path / "counts.npy", counts)
            (path / "checksum").write_text(_checksum(path))
            final = self.folder / f"segment-{uuid.uuid4().hex}"
            path.rename(final)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return Segment(final)


class Segment:
    def __init__(self, path: Path):
        self.path = path

    def intact(self) -> bool:
        try:
            return (self.path / "checksum").read_text() == _checksum(self.path)
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
        return np.load(self.path / "data.npy", mmap_mode="r", allow_pickle=False)


def _checksum(path: Path) -> str:
    total = 0
    for name in ("keys.npy", "counts.npy", "data.npy"):
        with open(path / name, "rb") as file:
            while block := file.read(_BLOCK):
                total = zlib.crc32(block, total)
    return f"{total:08x}"
