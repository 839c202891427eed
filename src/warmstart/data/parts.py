"""Which rows are train, val and test where the source says so, and which rows the user wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .columns import split_column
from .dataset import DataError
from .npz import SPLIT_OF
from .raw import Raw, nearest
from .sources import Source

Conditions = Mapping[str, object] | str | Sequence[str] | None
Parts = dict[str, list[Raw]]


def conditions_of(where: Conditions) -> dict[str, str]:
    """{column: value} from a mapping, "column=value", or several of the latter."""
    if where is None:
        return {}
    if isinstance(where, Mapping):
        return {column: str(value) for column, value in where.items()}
    conditions = {}
    for one in [where] if isinstance(where, str) else where:
        column, equals, value = one.partition("=")
        if not equals or not column:
            raise DataError(f"where {one!r} is not COLUMN=VALUE")
        conditions[column.strip()] = value
    return conditions


def partition(source: Source, notes: list[str], need_train: bool = True) -> Parts:
    """Split name -> rows; a split column divides rows that no file or folder divides."""
    if "all" not in source.splits:
        if need_train and "train" not in source.splits:
            raise DataError(f"{source.name}: no training rows (found: {', '.join(source.splits)})")
        return dict(source.splits)
    parts: Parts = {}
    for raw in source.splits["all"]:
        column = split_column(raw)
        values = [] if column is None else raw.texts(column)
        known = [SPLIT_OF.get((value or "").strip().lower()) for value in values]
        if "train" not in known:
            parts.setdefault("all", []).append(raw)
            continue
        for split in dict.fromkeys(known):
            rows = np.array([i for i, one in enumerate(known) if one == split])
            if split is None:
                others = sorted({str(values[i]) for i in rows})
                notes.append(f"{raw.file}: {len(rows):,} rows of split {', '.join(others[:3])!r} are not used")
            else:
                parts.setdefault(split, []).append(raw.take(rows))
    return parts


def matching(parts: Parts, where: Mapping[str, str], inverse: bool = False, need_train: bool = True) -> Parts:
    """The rows with these values (or, inverse, the others); a split that has none is left out."""
    if not where:
        return dict(parts)
    kept: Parts = {}
    for split, raws in parts.items():
        for raw in raws:
            mask = np.ones(len(raw), dtype=bool)
            for column, value in where.items():
                mask &= np.array([text == value for text in raw.texts(column)])
            rows = np.flatnonzero(~mask if inverse else mask)
            if len(rows):
                kept.setdefault(split, []).append(raw.take(rows))
    if not kept or (need_train and not {"train", "all"} & set(kept)):
        raise DataError(_nothing(parts, where, inverse))
    return kept


def _nothing(parts: Parts, where: Mapping[str, str], inverse: bool) -> str:
    said = ", ".join(f"{column}={value}" for column, value in where.items())
    raws = parts.get("train") or next(iter(parts.values()))
    if inverse:
        return f"{raws[0].file}: every training row has {said}: nothing is left to train on"
    column, value = next(iter(where.items()))
    values = sorted({str(text) for raw in raws for text in raw.texts(column)})
    return f"{raws[0].file}: no row where {said}{nearest(value, values)}"
