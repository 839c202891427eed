"""npz files: arrays named `x_train`, `y_test` (splits given) or `x`, `y` (one table)."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .columns import LABEL
from .dataset import DataError
from .raw import Raw, first_line

SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
    "unlabeled": ("unlabeled", "unlabelled", "unsupervised"),
}
SPLIT_OF = {alias: split for split, aliases in SPLIT_NAMES.items() for alias in aliases}
CLASS_NAMES = ("class_names", "classes", "label_names", "target_names")


def read_npz(path: Path) -> dict[str, Raw]:
    """Split name (or "all") -> its rows. Arrays of Python objects are refused: reading them runs code."""
    arrays = _arrays(path)
    splits: dict[str, dict[str, np.ndarray]] = {}
    shared: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        split, column = _split_and_column(key)
        (splits.setdefault(split, {}) if split else shared)[column] = array
    if not splits:
        splits = {"all": shared}
    return {split: _rows(path, columns, shared, split) for split, columns in splits.items()}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            start = file.read(6)
        if start == b"\x93NUMPY":
            raise DataError(f"{path}: a single array without a name; save it with np.savez(file, x=..., y=...)")
        pickled = start[:1] == b"\x80"
        raise DataError(f"{path}: {'a pickle: refused' if pickled else 'not a readable npz file'}")
    arrays = {}
    key = None
    try:
        with np.load(path, allow_pickle=False) as loaded:
            for key in loaded.files:
                arrays[key] = loaded[key]
    except Exception as error:  # a damaged archive fails in many ways inside zipfile, zlib and numpy
        if "Object arrays" in str(error):
            raise DataError(f"{path}: {key!r} holds Python objects (a pickle): refused") from None
        what = "not a readable npz file" if key is None else f"{key!r} cannot be read"
        raise DataError(f"{path}: {what} ({first_line(error)})") from None
    return arrays


def _split_and_column(key: str) -> tuple[str | None, str]:
    words = re.split(r"[_.\-/]", key)
    for position in (-1, 0):
        split = SPLIT_OF.get(words[position].lower())
        rest = words[:-1] if position else words[1:]
        if split and rest:
            return split, "_".join(rest)
    return None, key


def _rows(path: Path, columns: dict[str, np.ndarray], shared: dict[str, np.ndarray], split: str) -> Raw:
    tables = {name: array for name, array in columns.items() if array.ndim}
    if not tables:
        raise DataError(f"{path}: no arrays with rows")
    deep = [len(array) for array in tables.values() if array.ndim > 1]
    count = max(deep or [len(array) for array in tables.values()])
    if count == 0:
        raise DataError(f"{path}: no rows")
    for name, array in tables.items():
        if split != "all" and len(array) != count:
            raise DataError(f"{path}: {name!r} of {split} has {len(array):,} rows, not {count:,}")
    kept = {name: _column(array) for name, array in tables.items() if len(array) == count}
    _check_labels(path, tables, kept, count)
    declared = next((shared[name] for name in CLASS_NAMES if name in shared), None)
    names = {}
    for name, array in kept.items():
        given = shared.get(f"{name}_names", declared)
        if array.ndim == 1 and array.dtype.kind in "iub" and given is not None:
            names[name] = tuple(str(one) for one in _column(given).tolist())
    label = str(path) if split == "all" else f"{path} ({split})"
    return Raw(label, kept, np.arange(1, count + 1), names=names)


def _check_labels(path: Path, tables: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray], count: int) -> None:
    """Arrays of another length are beside the rows, as class names are; not so the only labels."""
    labels = [name for name in tables if name.lower() in LABEL]
    if labels and not any(name in kept for name in labels):
        raise DataError(f"{path}: {labels[0]!r} has {len(tables[labels[0]]):,} rows, and the inputs have {count:,}")


def _column(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
