"""Rows as their file holds them, before columns get roles."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from .dataset import DataError, place

Column = list | np.ndarray | pa.ChunkedArray


class Place(NamedTuple):
    """Where a row stands. row: 1-based without the header, 0 for a file that is itself the row."""

    file: str
    row: int
    line: int | None = None
    item: str | None = None

    def __str__(self) -> str:
        return place(*self)


class Faults:
    """Bad rows: the first one ends loading, or (skip) all are set aside with their reason."""

    def __init__(self, skip: bool = False):
        self.skip = skip
        self.rows: list[tuple[str, int, str]] = []

    def add(self, where: Place, reason: str) -> None:
        if not self.skip:
            raise DataError(f"{where}: {reason}")
        details = [text for text in (where.line and f"line {where.line}", where.item) if text]
        self.rows.append((where.file, where.row, f"{reason} ({', '.join(details)})" if details else reason))

    def add_all(self, where: Sequence[Place], reason: str) -> None:
        """Several rows with the same fault: one message with their number, or all set aside."""
        if where and not self.skip:
            count = f" ({len(where):,} such rows)" if len(where) > 1 else ""
            raise DataError(f"{where[0]}: {reason}{count}")
        for one in where:
            self.add(one, reason)


@dataclass(frozen=True)
class Raw:
    """Columns of one file under the file's own names.

    file: what messages call it.
    rows, lines: (N,) 1-based row numbers (0 where a row is itself a file) and, for text files, line numbers.
    folder: where the files that a column names are looked up; None where a column cannot name files.
    names: label column -> the class names that the file declares, in order of their ids.
    opened: archives already opened for these rows, shared by all parts of the file.
    """

    file: str
    columns: Mapping[str, Column]
    rows: np.ndarray
    lines: np.ndarray | None = None
    folder: Path | None = None
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    opened: dict[Path, object] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> Raw:
        columns = {name: _take(column, rows) for name, column in self.columns.items()}
        lines = None if self.lines is None else self.lines[rows]
        return replace(self, columns=columns, rows=self.rows[rows], lines=lines)

    def place(self, row: int, item: str | None = None) -> Place:
        """Where a row stands; in an image folder, whose rows are the files themselves, that is the file."""
        if not self.rows[row]:
            return Place(f"{self.file}/{item}" if item else self.file, 0)
        line = None if self.lines is None else int(self.lines[row])
        return Place(self.file, int(self.rows[row]), line, item)

    def places(self, mask: np.ndarray) -> list[Place]:
        return [self.place(row) for row in np.flatnonzero(mask)]

    def column(self, name: str) -> Column:
        """The column of this name; raises DataError with the nearest name where there is none."""
        if name in self.columns:
            return self.columns[name]
        raise DataError(f"{self.file}: no column {name!r}{nearest(name, self.columns)}")

    def texts(self, name: str) -> list[str | None]:
        return [as_text(value) for value in as_list(self.column(name))]


def nearest(name: str, known) -> str:
    """The end of a message: what the user may have meant, and what there is."""
    known = [str(one) for one in known]
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"{did_you_mean(name, known)} (there are: {shown})"


def did_you_mean(name: str, known) -> str:
    lower = {str(one).lower(): str(one) for one in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[close[0]]!r}?" if close else ""


def as_list(column: Column) -> list:
    if isinstance(column, np.ndarray):
        return column.tolist()
    return column.to_pylist() if isinstance(column, pa.ChunkedArray) else column


def as_text(value) -> str | None:
    """A cell as text, the same for 3, 3.0 and "3", so that files of different kinds agree on labels."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else str(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _take(column: Column, rows: np.ndarray) -> Column:
    if isinstance(column, list):
        return [column[row] for row in rows.tolist()]
    return column[rows] if isinstance(column, np.ndarray) else column.take(pa.array(rows, pa.int64()))


def first_line(error: Exception) -> str:
    """What an exception says, as part of one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
