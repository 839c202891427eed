"""Labels as files write them -> class ids, names and their order."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .columns import Columns
from .dataset import DataError
from .raw import Raw, did_you_mean


@dataclass(frozen=True)
class Naming:
    """Label as the file writes it -> class name, in class order; `complete` if it declares all classes."""

    names: Mapping[str, str]
    origin: str
    complete: bool = False


def read_label_names(source: str | Path | Sequence[str] | Mapping) -> list[str] | dict[str, str]:
    """One name a line, a csv of label and name, or a JSON list or object; a list or mapping stays itself."""
    if isinstance(source, Mapping):
        return {str(key): str(name) for key, name in source.items()}
    if not isinstance(source, str | Path):
        return [str(name) for name in source]
    path = Path(source).expanduser()
    if not path.is_file():
        raise DataError(f"{source}: no such file of label names")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            loaded = json.loads(text)
            if isinstance(loaded, list | dict):
                return read_label_names(loaded)
            raise DataError(f"{path}: label names must be a JSON list or object")
    except ValueError as error:
        raise DataError(f"{path}: not readable label names ({error})") from None
    lines = text.splitlines()
    names = _from_csv(path, lines) if path.suffix.lower() == ".csv" else lines
    while isinstance(names, list) and names and not names[-1].strip():
        names.pop()
    if not names:
        raise DataError(f"{path}: empty file")
    return names


def naming_of_list(names: Sequence[str], labels: Iterable[str], origin: str) -> Naming:
    """A list of names fits labels that are those names, or their positions counted from 0, or from 1."""
    labels = set(labels)
    repeated = next((name for name in names if list(names).count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"{origin}: class name {repeated!r} stands twice")
    if labels <= set(names):
        return Naming({name: name for name in names}, origin, complete=True)
    for first in (0, 1):
        positions = {str(first + i): name for i, name in enumerate(names)}
        if labels <= set(positions):
            return Naming(positions, origin, complete=True)
    strange = sorted(labels - set(names), key=order)
    if all(is_integer(label) for label in labels):
        strange = [label for label in strange if not 0 <= int(label) < len(names)] or strange
        raise DataError(f"{origin}: label {strange[0]!r} has no name among its {len(names)} (0..{len(names) - 1})")
    raise DataError(
        f"{origin}: label {strange[0]!r} is none of its {len(names)} names{did_you_mean(strange[0], names)}"
    )


def naming_of_column(raws: Sequence[Raw], columns: Columns) -> Naming | None:
    """Names of integer labels from a column beside them, as `class_name`.

    A column that does not name the labels one to one is none, unless both columns were recognised: then a
    label with two names is an error in the file.
    """
    if columns.label is None or columns.label_name is None:
        return None
    names: dict[str, str] = {}
    for raw in raws:
        if columns.label_name not in raw.columns:
            continue
        for row, (label, name) in enumerate(zip(raw.texts(columns.label), raw.texts(columns.label_name), strict=True)):
            if not label or not name or names.setdefault(label, name) == name:
                continue
            if columns.label_named_by_user or not is_integer(label):
                return None
            raise DataError(f"{raw.place(row)}: label {label!r} is named {name!r}, and {names[label]!r} before")
    if not names or not all(is_integer(label) for label in names):
        return None
    taken = list(names.values())
    unique = {key: name if taken.count(name) == 1 else f"{name} ({key})" for key, name in names.items()}
    return Naming(dict(sorted(unique.items(), key=lambda item: order(item[0]))), columns.label_name)


def is_integer(label: str) -> bool:
    """Whether it reads as the integer it writes: "7" does, "007" and "7.0" do not."""
    try:
        return str(int(label)) == label
    except ValueError:
        return False


def order(label: str) -> tuple:
    return (0, int(label), label) if is_integer(label) else (1, 0, label)


def _from_csv(path: Path, lines: list[str]) -> list[str] | dict[str, str]:
    rows = [row for row in csv.reader(lines) if row]
    if rows and rows[0][0].strip().lower() in {
        "label",
        "id",
        "index",
        "class",
        "class_id",
        "name",
        "class_name",
    }:
        rows = rows[1:]
    if all(len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise DataError(f"{path} row {number}: {len(row)} fields; label names are `label,name`")
    return {row[0]: row[1] for row in rows}
