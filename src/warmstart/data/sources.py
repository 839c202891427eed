"""Where rows come from: files, folders, embedded sets, `datasets` objects and hub ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from .dataset import DataError
from .embedded import EMBEDDED
from .hub import is_datasets_object, read_hub, read_object
from .media import IMAGE_SUFFIXES
from .npz import SPLIT_OF, read_npz
from .raw import Faults, Raw, did_you_mean
from .readers import raw_table, read_csv, read_jsonl, read_parquet

READERS = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
}
TABLES = (*READERS, ".npz")
INDEX_STEMS = ("labels", "metadata", "annotations", "index", "data")
SHARD = re.compile(r"-\d+-of-\d+$")


@dataclass(frozen=True)
class Source:
    """What was found: split name ("all" where none is given) -> files, and lines for the user."""

    name: str
    splits: dict[str, list[Raw]]
    notes: list[str] = field(default_factory=list)


def read_source(source, faults: Faults) -> Source:
    if isinstance(source, pa.Table):
        return Source("table", {"all": [raw_table(source, "table", None)]})
    if is_datasets_object(source):
        return _named("datasets", read_object(source))
    if not isinstance(source, str | Path):
        raise DataError(
            f"data must be a path, a name, an Arrow table or a datasets object, not {type(source).__name__}"
        )
    if not str(source):
        raise DataError("no data: name a file, a folder, an embedded set or a hub id")
    if str(source) in EMBEDDED:
        return Source(str(source), {"all": [EMBEDDED[str(source)]()]})
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_folder(path, faults)
    if path.is_file():
        return _read_file(path, faults)
    if path.suffix in TABLES or path.is_absolute() or str(source).startswith((".", "~")):
        raise DataError(f"{source}: no such file or folder{_beside(path)}")
    if "/" not in str(source):
        close = did_you_mean(str(source), EMBEDDED) or _beside(path)
        if close:
            raise DataError(f"{source}: no such file, folder or embedded set{close}")
    return _named(str(source), read_hub(str(source)))


def _named(name: str, splits: dict[str, Raw]) -> Source:
    known = {SPLIT_OF.get(split.lower(), split): [raw] for split, raw in splits.items()}
    if "train" not in known and len(known) == 1:
        known = {"all": next(iter(known.values()))}
    extra = [split for split in known if split not in {"all", *SPLIT_OF.values()}]
    notes = [f"{name}: splits not used: {', '.join(extra)}"] if extra else []
    return Source(name, {split: raws for split, raws in known.items() if split not in extra}, notes)


def _read_file(path: Path, faults: Faults) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return Source(str(path), {split: [raw] for split, raw in read_npz(path).items()})
    if suffix not in READERS:
        raise DataError(f"{path}: {suffix or 'no suffix'} is not read; data are {', '.join(TABLES)}, or a folder")
    return Source(str(path), {"all": [_read_table(path, faults)]})


def _read_folder(path: Path, faults: Faults) -> Source:
    tables = sorted(one for one in path.iterdir() if one.suffix.lower() in TABLES and one.name[0] != ".")
    of_split: dict[str, list[Path]] = {}
    for table in tables:
        split = SPLIT_OF.get(SHARD.sub("", table.stem).lower())
        if split and table.suffix.lower() in READERS:
            of_split.setdefault(split, []).append(table)
    if "train" in of_split:
        for split, files in of_split.items():
            if len(files) > 1 and not all(SHARD.search(file.stem) for file in files):
                raise DataError(f"{path}: several files for {split}: {', '.join(file.name for file in files)}")
        read = {split: [_read_table(file, faults) for file in files] for split, files in of_split.items()}
        used = {file for files in of_split.values() for file in files}
        return Source(str(path), read, _unread(path, [one for one in tables if one not in used]))
    if tables:
        chosen = tables if len(tables) == 1 else [one for one in tables if one.stem.lower() in INDEX_STEMS]
        if len(chosen) != 1:
            names = ", ".join(one.name for one in tables[:8])
            raise DataError(f"{path}: no train file, and several tables ({names}); name one of them")
        found = _read_file(chosen[0], faults)
        return Source(str(path), found.splits, _unread(path, [one for one in tables if one not in chosen]))
    return _read_images(path)


def _read_table(path: Path, faults: Faults) -> Raw:
    try:
        return READERS[path.suffix.lower()](path, faults)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _read_images(path: Path) -> Source:
    """Class sub-folders of images, under train / val / test folders or not."""
    folders = _folders(path)
    splits = {SPLIT_OF[one.name.lower()]: one for one in folders if one.name.lower() in SPLIT_OF}
    notes: list[str] = []
    if "train" not in splits:
        return Source(str(path), {"all": [_class_folders(path, notes)]}, notes)
    notes += _unread(path, [one for one in folders if one not in splits.values()])
    read = {}
    for split, folder in splits.items():
        read[split] = [_loose_images(folder) if split == "unlabeled" else _class_folders(folder, notes)]
    return Source(str(path), read, notes)


def _class_folders(path: Path, notes: list[str]) -> Raw:
    classes = sorted(_folders(path), key=lambda one: one.name)
    if not classes:
        raise DataError(
            f"{path}: no data found; expected train / val / test tables, a table that names images, "
            "or a folder of images for each class"
        )
    files: list[str] = []
    labels: list[str] = []
    others = 0
    for folder in classes:
        found = [one for one in folder.rglob("*") if one.is_file() and one.name[0] != "."]
        images = sorted(str(one.relative_to(path)) for one in found if one.suffix.lower() in IMAGE_SUFFIXES)
        others += len(found) - len(images)
        files += images
        labels += [folder.name] * len(images)
    if not files:
        raise DataError(f"{path}: no images in its folders ({', '.join(one.name for one in classes[:8])})")
    if others:
        notes.append(f"{path}: not read: {others:,} of its files, which are no images")
    names = sorted((one.name for one in classes), key=_natural)
    return _image_rows(path, {"image": files, "label": labels}, {"label": tuple(names)})


def _loose_images(path: Path) -> Raw:
    found = sorted(one for one in path.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DataError(f"{path}: no images")
    return _image_rows(path, {"image": [str(one.relative_to(path)) for one in found]}, {})


def _image_rows(path: Path, columns: dict[str, list], names: dict[str, tuple[str, ...]]) -> Raw:
    return Raw(str(path), columns, np.zeros(len(columns["image"]), np.int64), folder=path, names=names)


def _natural(name: str) -> tuple:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir() and one.name[0] not in "._")


def _unread(path: Path, files: list[Path]) -> list[str]:
    return [f"{path}: not read: {', '.join(one.name for one in files)}"] if files else []


def _beside(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, sorted(one.name for one in path.parent.iterdir() if one.name[0] != "."))
