"""Rows beside train and test: unlabeled ones, and labelled ones of another distribution."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from .classes import naming_of, with_ids
from .columns import Ask, Columns, choose_columns
from .dataset import DataError, Dataset
from .parts import Parts
from .raw import Faults, Raw
from .tables import build_table, roles_of


def unlabeled_rows(parts: Parts, ask: Ask, faults: Faults, train: Dataset) -> Dataset:
    raws = parts.get("unlabeled") or parts.get("train") or next(iter(parts.values()))
    columns = _other_columns(raws[0], ask, labelled=False)
    table = pa.concat_tables([build_table(raw, columns, faults) for raw in raws])
    return _same_modality(Dataset(table, roles_of(columns), name="unlabeled"), train, raws[0])


def shifted_rows(parts: Parts, ask: Ask, faults: Faults, train: Dataset, keys: list[str], empty_label: bool):
    """The shifted rows, and which of them have a label that training does not."""
    raws = parts.get("test") or parts.get("val") or next(iter(parts.values()))
    columns = _other_columns(raws[0], ask, labelled=True)
    table = pa.concat_tables([build_table(raw, columns, faults, empty_label) for raw in raws])
    ids = {name: i for i, name in enumerate(train.classes)} | {key: i for i, key in enumerate(keys)}
    own = naming_of(None, None, {"all": raws}, columns, {"all": table})
    if own is not None and list(train.classes) != keys:
        # Both files name their classes: ids may differ between them, names do not.
        names = [own.names.get(label, label) for label in table["label"].to_pylist()]
        table = table.set_column(table.column_names.index("label"), "label", pa.array(names, pa.string()))
    table = with_ids(table, ids, "shifted", None)
    data = _same_modality(Dataset(table, roles_of(columns), train.classes, "shifted"), train, raws[0])
    return data, data.labels < 0


def _other_columns(raw: Raw, ask: Ask, labelled: bool) -> Columns:
    """Columns of unlabeled or shifted rows: the same names where the file has them, else the usual ones."""
    texts = [ask.text] if isinstance(ask.text, str) and ask.text in raw.columns else ask.text
    texts = texts.split(",") if isinstance(texts, str) else texts
    return choose_columns(
        raw,
        replace(
            ask,
            text=texts if texts and all(one in raw.columns for one in texts) else None,
            image=ask.image if ask.image in raw.columns else None,
            label=ask.label if ask.label in raw.columns else None,
            group=None,
            time=None,
        ),
        labelled,
    )


def _same_modality(data: Dataset, train: Dataset, raw: Raw) -> Dataset:
    if not len(data):
        raise DataError(f"{raw.file}: no rows are left in {data.name}")
    if data.modality != train.modality:
        raise DataError(f"{raw.file}: {data.name} rows hold {data.modality}, training rows {train.modality}")
    return data
