"""From label strings to the classes of training and their ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns import Columns
from .dataset import PLACE, DataError
from .labels import Naming, naming_of_column, naming_of_list, order
from .parts import Parts
from .raw import Faults, Place


def naming_of(names, label_names, parts: Parts, columns: Columns, tables: dict[str, pa.Table]) -> Naming | None:
    """How the classes are named: by the user, by the file, by a column beside the labels, or (None) not at all.

    names, label_names: what the user's `label_names` holds and what it was, None where none was given.
    """
    labels = set().union(*(table["label"].unique().to_pylist() for table in tables.values()))
    origin = str(label_names) if isinstance(label_names, str | Path) else "label_names"
    if isinstance(names, dict):
        missing = sorted(labels - set(names), key=order)
        if missing:
            raise DataError(f"{origin}: no name for label {missing[0]!r} ({len(missing)} labels without a name)")
        return Naming(names, origin)
    if names is not None:
        return naming_of_list(names, labels, origin)
    raws = [raw for split, several in parts.items() if split != "unlabeled" for raw in several]
    first = (parts.get("train") or raws)[0]
    declared = first.names.get(columns.label)
    if declared:
        # A class folder that only the test split has is an unseen label, not a fault of the names.
        known = set(tables["train" if "train" in tables else "all"]["label"].unique().to_pylist())
        return naming_of_list(declared, known, first.file)
    return naming_of_column(raws, columns)


def class_keys(present: set[str], naming: Naming | None, name: str, lenient: bool, notes: list[str]) -> list[str]:
    """Labels of training in class order; a declared class without rows is an error, or (lenient) dropped."""
    keys = sorted(present, key=order) if naming is None else [key for key in naming.names if key in present]
    if naming is not None and naming.complete and len(keys) < len(naming.names):
        empty = [naming.names[key] for key in naming.names if key not in present]
        line = f"{naming.origin}: empty class {empty[0]!r}: no row of training has it"
        line += f" ({len(empty)} empty classes)" if len(empty) > 1 else ""
        if not lenient:
            raise DataError(line)
        notes.append(f"{line}; left out")
    if len(keys) < 2:
        raise DataError(f"{name}: one class only in training ({keys[0]!r}); at least two are needed")
    return keys


def with_ids(table: pa.Table, ids: Mapping[str, int], split: str, faults: Faults | None) -> pa.Table:
    """String labels -> class ids; rows of other labels are faults, or null where no faults are collected."""
    known = pc.index_in(table["label"], value_set=pa.array(list(ids), pa.string()))
    values = pa.array(list(ids.values()), pa.int64()).take(pa.chunked_array(known).combine_chunks())
    position = table.column_names.index("label")
    unseen = values.is_null().to_numpy(zero_copy_only=False)
    if faults is not None and unseen.any():
        rows = np.flatnonzero(unseen)
        strange = sorted(set(table["label"].take(pa.array(rows)).to_pylist()), key=order)
        shown = ", ".join(repr(label) for label in strange[:3]) + (", ..." if len(strange) > 3 else "")
        places = [Place(*(table[column][row].as_py() for column in PLACE)) for row in rows.tolist()]
        hint = "" if faults.skip else "; as shifted data such rows count as out-of-distribution"
        faults.add_all(places, f"{split} label that training does not have: {shown}{hint}")
    table = table.set_column(position, "label", values)
    if faults is None or not unseen.any():
        return table
    if unseen.all():
        raise DataError(f"no row of {split} has a label of training")
    return table.filter(pa.array(~unseen))
