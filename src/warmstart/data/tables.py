"""Raw columns -> an Arrow table with roles, bad rows named or set aside."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from .columns import Columns
from .dataset import PLACE, DataError
from .media import check_bytes, read_files
from .raw import Faults, Raw, as_list, as_text

EMPTY_LABEL = "no label (an empty cell); fill it in, or list an empty name in label_names to make it a class"


def roles_of(columns: Columns) -> dict[str, str]:
    roles = {role: kind for role, (_, kind) in columns.inputs.items()}
    others = ("label", "group", "time", "domain")
    return roles | {role: role for role in others if getattr(columns, role) is not None}


def build_table(raw: Raw, columns: Columns, faults: Faults, empty_label: bool = False) -> pa.Table:
    """One column for each role, plus where every row came from. Labels are still the file's own strings.

    empty_label: the empty string is a class of its own and no missing label.
    """
    raw = _without_missing(raw, columns.label, EMPTY_LABEL, faults, empty_label)
    raw = _without_missing(raw, columns.group, f"no group in {columns.group!r}", faults)
    raw, times = _times(raw, columns.time, faults)
    built: dict[str, pa.Array | pa.ChunkedArray] = {}
    good = np.ones(len(raw), dtype=bool)
    items = None
    for role, (column, kind) in columns.inputs.items():
        built[role], known, named = _input(raw, column, kind, faults)
        good &= known
        items = items or named
    for role in ("label", "group", "domain"):
        column = getattr(columns, role)
        if column is not None:
            built[role] = pa.array(raw.texts(column), pa.string())
    if times is not None:
        built["time"] = pa.array(times, pa.float64())
    table = pa.table(built | _source_columns(raw, items))
    return table if good.all() else table.filter(pa.array(good))


def _without_missing(raw: Raw, column: str | None, reason: str, faults: Faults, empty_counts: bool = False) -> Raw:
    if column is None:
        return raw
    if isinstance(raw.column(column), np.ndarray) and raw.columns[column].ndim > 1:
        raise DataError(f"{raw.file}: {column!r} has shape {raw.columns[column].shape}, one value a row is needed")
    cells = as_list(raw.column(column))
    strange = np.array([isinstance(cell, list | dict) for cell in cells], dtype=bool)
    faults.add_all(raw.places(strange), f"{column!r} holds a list or an object, one value is needed")
    missing = np.array([text is None or (text == "" and not empty_counts) for text in map(as_text, cells)], dtype=bool)
    faults.add_all(raw.places(missing & ~strange), reason)
    bad = missing | strange
    return raw.take(np.flatnonzero(~bad)) if bad.any() else raw


def _times(raw: Raw, column: str | None, faults: Faults) -> tuple[Raw, np.ndarray | None]:
    """Numbers as they are, dates as seconds since 1970 (UTC)."""
    if column is None:
        return raw, None
    cells = [seconds(cell) for cell in as_list(raw.column(column))]
    bad = np.array([cell is None for cell in cells], dtype=bool)
    faults.add_all(raw.places(bad), f"{column!r} holds no number and no ISO date")
    times = np.array([cell for cell in cells if cell is not None], dtype=np.float64)
    return (raw.take(np.flatnonzero(~bad)) if bad.any() else raw), times


def seconds(cell) -> float | None:
    """A number as it is, a date as seconds since 1970 (UTC); None where it is neither."""
    try:
        number = float(cell)
        return number if np.isfinite(number) else None
    except (TypeError, ValueError):
        pass
    try:
        moment = cell if isinstance(cell, datetime) else datetime.fromisoformat(str(cell).strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _input(raw: Raw, column: str, kind: str, faults: Faults):
    """(array, (N,) bool which rows are good, names of the files that hold them or None)."""
    values = raw.column(column)
    if kind == "text":
        return _texts(raw, column, faults)
    if isinstance(values, np.ndarray) and values.dtype.kind != "U":
        array = _pixels(raw, column, values) if kind == "image" else _series(raw, column, values)
        return pa.FixedShapeTensorArray.from_numpy_ndarray(array), np.ones(len(raw), dtype=bool), None
    cells = as_list(values)
    if any(isinstance(cell, dict) for cell in cells):
        # The layout of `datasets`: the file itself, or its path.
        embedded = any(cell and cell.get("bytes") for cell in cells)
        cells = [(cell or {}).get("bytes" if embedded else "path") for cell in cells]
    names = None
    if any(isinstance(cell, str) for cell in cells):
        raw = replace(raw, columns={**raw.columns, column: cells})
        names = [name or None for name in raw.texts(column)]
        cells = read_files(raw, column, kind, faults)
    else:
        if not all(cell is None or isinstance(cell, bytes) for cell in cells):
            raise DataError(f"{raw.file}: {column!r} holds neither {kind} files nor their names")
        cells = [check_bytes(cell, kind, raw.place(row), faults) for row, cell in enumerate(cells)]
    known = np.array([cell is not None for cell in cells], dtype=bool)
    large = sum(len(cell) for cell in cells if cell) > 2**30
    return pa.array(cells, pa.large_binary() if large else pa.binary()), known, names


def _texts(raw: Raw, column: str, faults: Faults):
    cells = as_list(raw.column(column))
    known = np.array([isinstance(cell, str | int | float) for cell in cells], dtype=bool)
    faults.add_all(raw.places(~known), f"no text in {column!r}")
    return (
        pa.array([as_text(cell) if good else None for cell, good in zip(cells, known, strict=True)], pa.string()),
        known,
        None,
    )


def _pixels(raw: Raw, column: str, array: np.ndarray) -> np.ndarray:
    """(N, H, W) or (N, H, W, C) uint8; channels first and values in 0..1 are recognised."""
    if array.ndim == 4 and array.shape[3] not in (1, 3, 4) and array.shape[1] in (1, 3, 4):
        array = np.moveaxis(array, 1, 3)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3, 4)):
        raise DataError(f"{raw.file}: {column!r} has shape {array.shape}; images are (N, H, W) or (N, H, W, C)")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 255):
        raise DataError(f"{raw.file}: {column!r} holds values from {low:g} to {high:g}; pixels are 0..255 or 0..1")
    unit = array.dtype.kind in "fb" and high <= 1
    return np.rint(array.astype(np.float32) * (255 if unit else 1)).astype(np.uint8)


def _series(raw: Raw, column: str, array: np.ndarray) -> np.ndarray:
    if array.ndim < 2 or array.dtype.kind not in "fiub":
        raise DataError(f"{raw.file}: {column!r} has shape {array.shape} and type {array.dtype}; numbers are needed")
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.dtype.kind == "f" else np.zeros(1, bool)
    if bad.any():
        raise DataError(f"{raw.place(int(bad.argmax()))}: {column!r} holds values that are not finite")
    return np.ascontiguousarray(array, dtype=np.float32)


def _source_columns(raw: Raw, items: list[str | None] | None) -> dict[str, pa.Array]:
    items = items or [None] * len(raw)
    if raw.rows.all():
        files = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(raw), np.int32)), [raw.file])
    else:
        files = pa.array([raw.place(row, item).file for row, item in enumerate(items)]).dictionary_encode()
        items = [None] * len(raw)
    lines = pa.nulls(len(raw), pa.int64()) if raw.lines is None else pa.array(raw.lines, pa.int64())
    arrays = (files, pa.array(raw.rows, pa.int64()), lines, pa.array(items, pa.string()))
    return dict(zip(PLACE, arrays, strict=True))
