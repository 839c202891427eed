"""`load_data`: from any source to train, validation and test rows with roles and class ids."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from .beside import shifted_rows, unlabeled_rows
from .checks import check_shifted, check_splits
from .class_tasks import class_tasks
from .classes import class_keys, naming_of, with_ids
from .columns import Ask, Columns, choose_columns
from .dataset import PLACE, DataError, Dataset, Splits
from .labels import read_label_names
from .parts import Conditions, Parts, conditions_of, matching, partition
from .passages import PASSAGES, passages
from .procedural import is_procedural, make
from .raw import Faults, Place
from .sources import read_source
from .splits import set_test_apart
from .tables import build_table, roles_of
from .unlabelled import unlabelled_splits


def load_data(
    source,
    *,
    text: str | Sequence[str] | None = None,
    image: str | None = None,
    label: str | None = None,
    where: Conditions = None,
    group: str | None = None,
    time: str | None = None,
    label_names: str | Path | Sequence[str] | Mapping | None = None,
    unlabeled=None,
    shifted=None,
    shifted_where: Conditions = None,
    labelled: bool = True,
    skip_bad: bool = False,
    test_share: float = 0.2,
    seed: int = 0,
    tasks: Mapping | None = None,
) -> Splits:
    """Rows to learn from and to be judged by.

    source: a csv, parquet, jsonl or npz file; a folder of them named train / val / test; a folder of images
        by class; a table that names images or recordings beside it; an embedded set (`digits`, `mnist5k`,
        `iris`, `wine`, `breast_cancer`; write `./digits` for a folder of that name), or `stdlib-docs`, the
        standard library's documentation as texts without labels; an Arrow table; a
        `datasets` object or hub id (`owner/name` or `owner/name:config`); a procedure, as `world:label=shape` or
        `{world: {label: shape}}`, whose arguments take the place of all others. Splits are returned as they are.
    text, image, label, group, time: columns by name; text, image and label are recognised by usual names.
        Several texts of a row: a list, or names with commas between.
    where, shifted_where: {column: value} or "column=value", compared as text.
    label_names: names of the classes: one a line, a csv of label and name, or JSON; or the list or mapping.
    unlabeled: a source of rows whose labels are not read; its train split where it has splits.
    shifted: a labelled source of another distribution; its test split where it has splits. With
        `shifted_where` alone, those rows of the source itself, which are kept out of train and test unless
        `where` says what these are.
    labelled: False reads no labels, from data that has none: pictures with captions (name `image` and `text`),
        recordings, texts. A list of texts in one row (a column that is named) becomes a row for each.
    skip_bad: set bad rows aside in `Splits.skipped` and go on; otherwise the first one ends loading.
    test_share, seed: how test rows are set apart where the source has none: stratified by class, or whole
        groups (`group`), or the latest (`time`). Without a test split, a validation split is the test split.
    tasks: {count: 16, ways: 3, ...}: the rows as many tasks, each of which tells some of the classes apart, with a
        column `task`; see `data.class_tasks`. Without unlabeled and shifted rows.

    Raises DataError with one line that names file, row and fault.
    """
    if isinstance(source, Splits):
        return source
    if is_procedural(source):
        return make(source)
    if not 0 < test_share < 1:
        raise DataError(f"test_share is {test_share}; it must be between 0 and 1")
    if group is not None and time is not None:
        raise DataError("give group or time, not both: test rows are set apart by one of them")
    if str(source) in PASSAGES:
        return passages(str(source), PASSAGES[str(source)](), test_share, seed)
    faults = Faults(skip_bad)
    ask = Ask(text, image, label, group, time)
    found = read_source(source, faults)
    notes = list(found.notes)
    given = partition(found, notes)
    chosen, of_shift = _chosen_and_shifted(given, where, shifted, shifted_where, faults)
    notes += [f"{found.name}: no {split} rows are left by the choice of rows" for split in given if split not in chosen]
    if not labelled:
        return unlabelled_splits(chosen, ask, faults, found.name, notes, test_share, seed)
    names = None if label_names is None else read_label_names(label_names)
    empty_label = names is not None and "" in names
    columns = choose_columns((chosen.get("train") or chosen["all"])[0], ask)
    roles = roles_of(columns)
    _use_val_as_test(chosen, columns, notes)
    tables = _tables(chosen, columns, faults, empty_label, found.name)
    naming = naming_of(names, label_names, chosen, columns, tables)
    if "test" not in tables:
        set_test_apart(tables, found.name, roles, test_share, seed)
    present = set(tables["train"]["label"].unique().to_pylist())
    keys = class_keys(present, naming, found.name, skip_bad or where is not None, notes)
    classes = tuple(naming.names[key] if naming else key for key in keys)
    ids = {key: i for i, key in enumerate(keys)}
    parts = {
        split: Dataset(
            with_ids(tables[split], ids, split, faults).select([*roles, *PLACE]),
            roles,
            classes,
            f"{found.name} ({split})",
        )
        for split in ("train", "test", "val")
        if split in tables
    }
    notes += check_splits(**parts)
    splits = Splits(**parts, warnings=notes, skipped=faults.rows)
    if unlabeled is not None:
        splits.unlabeled = unlabeled_rows(
            partition(read_source(unlabeled, faults), [], need_train=False), ask, faults, splits.train
        )
    elif "unlabeled" in chosen:
        splits.unlabeled = unlabeled_rows({"all": chosen["unlabeled"]}, ask, faults, splits.train)
    if of_shift is not None:
        splits.shifted, splits.shifted_unseen = shifted_rows(of_shift, ask, faults, splits.train, keys, empty_label)
        notes += check_shifted(splits.train, splits.shifted)
    if faults.rows:
        file, row, reason = faults.rows[0]
        notes.append(f"bad rows set aside: {len(faults.rows):,} (first: {Place(file, row)}: {reason})")
    return splits if tasks is None else _as_tasks(splits, tasks)


def _as_tasks(splits: Splits, tasks: Mapping) -> Splits:
    try:
        return class_tasks(splits, **tasks)
    except TypeError:
        known = ", ".join(list(inspect.signature(class_tasks).parameters)[1:])
        raise DataError(
            f"tasks has {', '.join(map(str, tasks))}; write count and what else is wanted of {known}"
        ) from None


def _chosen_and_shifted(parts: Parts, where: Conditions, shifted, shifted_where: Conditions, faults: Faults):
    """The rows to learn from and be judged by, and the shifted rows or None."""
    chosen = matching(parts, conditions_of(where))
    if shifted is not None:
        other = partition(read_source(shifted, faults), [], need_train=False)
        return chosen, matching(other, conditions_of(shifted_where), need_train=False)
    if shifted_where is None:
        return chosen, None
    wanted = conditions_of(shifted_where)
    if where is None:
        chosen = matching(parts, wanted, inverse=True)
    return chosen, matching(parts, wanted, need_train=False)


def _tables(parts: Parts, columns: Columns, faults: Faults, empty_label: bool, name: str) -> dict[str, pa.Table]:
    tables = {
        split: pa.concat_tables([build_table(raw, columns, faults, empty_label) for raw in raws])
        for split, raws in parts.items()
        if split != "unlabeled"
    }
    for split, table in tables.items():
        if not len(table):
            raise DataError(f"{name}: no rows are left in {'the data' if split == 'all' else split}")
    return tables


def _use_val_as_test(parts: Parts, columns: Columns, notes: list[str]) -> None:
    """Drop a test split whose labels are all missing; without any, the validation split takes its place."""
    tests = parts.get("test", [])
    if tests and not any(any(raw.texts(columns.label)) for raw in tests):
        notes.append(f"{tests[0].file}: the test split has no labels and is not used")
        del parts["test"]
    if "val" in parts and "test" not in parts:
        parts["test"] = parts.pop("val")
        notes.append(f"no test split: the validation split ({parts['test'][0].file}) is the test split")
