"""Rows without labels: pictures with captions, recordings, plain texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from .columns import Ask, choose_columns
from .dataset import PLACE, DataError, Dataset, Splits
from .parts import Parts
from .raw import Faults, Raw, as_list
from .splits import by_group, by_time
from .tables import build_table, roles_of, seconds


def unlabelled_splits(
    parts: Parts, ask: Ask, faults: Faults, name: str, notes: list[str], share: float, seed: int
) -> Splits:
    """Train, validation and test rows whose labels are not read.

    A row whose text is a list of texts (a photo's captions) becomes a row for each of them. Test rows, where none are
    given, are whole groups, the latest, or drawn at random; rows that were one row stay together.
    Raises DataError as `load_data` does.
    """
    if "val" in parts and "test" not in parts:
        parts["test"] = parts.pop("val")
        notes.append(f"no test split: the validation split ({parts['test'][0].file}) is the test split")
    columns = choose_columns((parts.get("train") or parts["all"])[0], ask, labelled=False)
    texts = [column for column, kind in columns.inputs.values() if kind == "text"]
    roles = roles_of(columns)
    if "test" not in parts:
        (split,) = (one for one in ("all", "train") if one in parts)
        parts["train"], parts["test"] = _test_apart(parts.pop(split), columns, share, seed, name)
    made = {}
    for split in ("train", "test", "val"):
        if split in parts:
            raws = [_one_text_a_row(raw, texts) for raw in parts[split]]
            table = pa.concat_tables([build_table(raw, columns, faults) for raw in raws])
            if not len(table):
                raise DataError(f"{name}: no rows are left in {split}")
            made[split] = Dataset(table.select([*roles, *PLACE]), roles, name=f"{name} ({split})")
    return Splits(**made, warnings=notes, skipped=faults.rows)


def _test_apart(raws: list[Raw], columns, share: float, seed: int, name: str) -> tuple[list[Raw], list[Raw]]:
    sizes = np.cumsum([0, *map(len, raws)])
    count = int(sizes[-1])
    if count < 2:
        raise DataError(f"{name}: one row only: no test rows can be set apart")
    if columns.group is not None:
        groups = np.array([value for raw in raws for value in raw.texts(columns.group)], dtype=object)
        test = by_group(np.zeros(count, np.int64), groups, share, seed)
    elif columns.time is not None:
        times = [seconds(cell) for raw in raws for cell in as_list(raw.column(columns.time))]
        if None in times:
            raise DataError(f"{name}: {columns.time!r} holds something that is no number and no ISO date")
        test = by_time(np.array(times), share)
    else:
        test = np.zeros(count, bool)
        test[np.random.default_rng(seed).permutation(count)[: min(max(round(share * count), 1), count - 1)]] = True
    cut = [test[a:b] for a, b in zip(sizes, sizes[1:], strict=False)]
    return tuple(
        [raw.take(np.flatnonzero(one == wanted)) for raw, one in zip(raws, cut, strict=True)]
        for wanted in (False, True)
    )


def _one_text_a_row(raw: Raw, columns: list[str]) -> Raw:
    for column in columns:
        cells = as_list(raw.column(column))
        if any(isinstance(cell, list) for cell in cells):
            several = [cell if isinstance(cell, list) else [cell] for cell in cells]
            raw = raw.take(np.repeat(np.arange(len(raw)), [len(cell) for cell in several]))
            raw = replace(raw, columns={**raw.columns, column: [text for cell in several for text in cell]})
    return raw
