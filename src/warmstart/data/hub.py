"""Hugging Face `datasets`: objects that the user made, and hub ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .dataset import DataError
from .raw import Raw, first_line
from .readers import raw_table

NOT_HERE = "is no file, folder or embedded set here"


def read_hub(name: str) -> dict[str, Raw]:
    """`owner/name` or `owner/name:config` -> its splits; needs the `hub` extra, and a network or a cache."""
    try:
        from datasets import load_dataset
    except ImportError:
        raise DataError(f"{name!r} {NOT_HERE}; for hub ids: pip install 'warmstart[hub]'") from None
    path, _, config = name.partition(":")
    try:
        return read_object(load_dataset(path, config or None), name)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name!r} {NOT_HERE} and did not load from the hub ({first_line(error)})") from None


def is_datasets_object(source) -> bool:
    return type(source).__module__.split(".", 1)[0] == "datasets"


def read_object(source, name: str | None = None) -> dict[str, Raw]:
    """A `datasets.Dataset` or `DatasetDict` -> split name (or "all") -> its rows."""
    if isinstance(source, dict):
        return {str(split): _rows(one, f"{name or 'datasets'} ({split})") for split, one in source.items()}
    return {"all": _rows(source, name or "datasets.Dataset")}


def _rows(dataset, file: str) -> Raw:
    if not hasattr(dataset, "with_format") or not hasattr(dataset, "num_rows"):
        raise DataError(f"{file}: a {type(dataset).__name__} cannot be read in full; pass a Dataset or DatasetDict")
    raw = raw_table(dataset.with_format("arrow")[:], file, None)
    files = [name for name, feature in dataset.features.items() if type(feature).__name__ in ("Image", "Audio")]
    return replace(raw, columns={**raw.columns, **{name: _bytes(raw.columns[name]) for name in files}})


def _bytes(column) -> list[bytes | None]:
    """Encoded files; those that `datasets` holds as a path are read, since the object is the user's own."""
    cells = ((cell or {}) for cell in column.to_pylist())
    return [cell.get("bytes") or (Path(cell["path"]).read_bytes() if cell.get("path") else None) for cell in cells]
