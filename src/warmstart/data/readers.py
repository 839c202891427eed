"""csv, jsonl and parquet files as raw columns; every malformed row is named by its row and line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .dataset import DataError
from .raw import Column, Faults, Place, Raw, first_line


def read_csv(path: Path, faults: Faults) -> Raw:
    """Every cell as it is written, a string: `NA`, `None` and `007` stay what they are."""
    text = _text(path)
    lines = list(io.StringIO(text, newline=""))
    first = next((line for line in lines if line.strip()), "")
    separator = next((mark for mark in ",;\t" if mark in first), ",") if path.suffix != ".tsv" else "\t"
    with _any_field_size():
        records = _records(lines, separator)
        line, header = next(records, (0, None))
        if header is None:
            raise DataError(f"{path}: empty file")
        if isinstance(header, str):
            raise DataError(f"{path} (line {line}): {header}")
        header = [name.strip() for name in header]
        _check_header(path, header, line)
        kept: list[list[str]] = []
        numbers: list[tuple[int, int]] = []
        for number, (line, record) in enumerate(records, start=1):
            reason = record if isinstance(record, str) else _fault(record, len(header))
            if reason is None:
                kept.append(record)
                numbers.append((number, line))
            else:
                faults.add(Place(str(path), number, line), reason)
    columns = [list(column) for column in zip(*kept, strict=True)] or [[] for _ in header]
    return _raw(path, dict(zip(header, columns, strict=True)), numbers)


def read_jsonl(path: Path, faults: Faults) -> Raw:
    """One JSON object a line; a key that a line lacks is a missing value."""
    kept: list[dict] = []
    numbers: list[tuple[int, int]] = []
    number = 0
    for line, text in enumerate(io.StringIO(_text(path), newline=""), start=1):
        if not text.strip():
            continue
        number += 1
        where = Place(str(path), number, line)
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            faults.add(where, _not_utf8(text) or f"not valid JSON ({error})")
            continue
        reason = _not_utf8(text) or (None if isinstance(record, dict) else "not a JSON object {...}")
        if reason is not None:
            faults.add(where, reason)
            continue
        kept.append(record)
        numbers.append((number, line))
    keys = list(dict.fromkeys(key for record in kept for key in record))
    return _raw(path, {key: [record.get(key) for record in kept] for key in keys}, numbers)


def read_parquet(path: Path, faults: Faults) -> Raw:
    """Columns as Arrow holds them; class names from the metadata that `datasets` writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file")
    try:
        # Not read_table: it would also turn folder names like `label=3` into columns.
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable parquet file ({first_line(error)})") from None
    return raw_table(table, str(path), path.parent)


def raw_table(table, file: str, folder: Path | None) -> Raw:
    if table.num_rows == 0:
        raise DataError(f"{file}: no rows")
    repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
    if repeated:
        raise DataError(f"{file}: two columns are named {sorted(repeated)[0]!r}")
    columns = {name: table[name] for name in table.column_names}
    names = _declared_names(table.schema.metadata or {})
    for column in set(names) & set(columns):
        # ClassLabel writes -1 for "not labelled".
        columns[column] = [None if value == -1 else value for value in columns[column].to_pylist()]
    return Raw(file, columns, np.arange(1, table.num_rows + 1), folder=folder, names=names)


def _declared_names(metadata: dict[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Class names of the ClassLabel columns in the metadata that `datasets` writes; none if it is damaged."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        labels = {name: one for name, one in features.items() if one.get("_type") == "ClassLabel"}
        return {name: tuple(map(str, one["names"])) for name, one in labels.items() if one.get("names")}
    except (ValueError, AttributeError, TypeError):
        return {}


def _raw(path: Path, columns: dict[str, Column], numbers: list[tuple[int, int]]) -> Raw:
    if not numbers:
        raise DataError(f"{path}: no rows")
    rows, lines = (np.array(values, dtype=np.int64) for values in zip(*numbers, strict=True))
    return Raw(str(path), columns, rows, lines, folder=path.parent)


def _text(path: Path) -> str:
    """The file's text; bytes that are not UTF-8 become lone surrogates, found again row by row."""
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{path}: empty file")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not readable as UTF-16 ({error.reason}); save the file as UTF-8") from None
    return data.decode("utf-8-sig", "surrogateescape")


def _not_utf8(text: str) -> str | None:
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        return f"not UTF-8 text (byte 0x{byte:02x}); save the file as UTF-8"
    return None


def _check_header(path: Path, header: list[str], line: int) -> None:
    fault = _not_utf8("".join(header))
    if fault is not None:
        raise DataError(f"{path} (line {line}): {fault}")
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path} (line {line}): two columns are named {name!r}")


def _fault(record: list[str], width: int) -> str | None:
    if len(record) != width:
        return f"{len(record)} field{'s' * (len(record) != 1)} where the header has {width}"
    return next((fault for fault in map(_not_utf8, record) if fault), None)


def _records(lines: list[str], separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line, fields) of every record that is not blank; a fault's text in place of the fields.

    After a fault, reading goes on with the next line, so that one open quote does not swallow the rest.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[i] for i in range(start, len(lines))), delimiter=separator, strict=True)
        before = 0
        try:
            for record in reader:
                if record:
                    yield start + before + 1, record
                before = reader.line_num
            return
        except csv.Error as error:
            open_quote = "unexpected end of data" in str(error)
            reason = "a quote is opened and never closed" if open_quote else f"malformed quotes ({error})"
            yield start + before + 1, reason
            start += before + 1


@contextmanager
def _any_field_size():
    """The csv module refuses fields over 128 KiB: documents are longer."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
