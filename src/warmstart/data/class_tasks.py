"""Many small tasks made of the classes of one set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .dataset import DataError, Dataset, Splits


def class_tasks(
    splits: Splits, count: int, ways: int = 3, rows: int | None = None, test_rows: int | None = None, seed: int = 0
) -> Splits:
    """Splits in which each row belongs to one of `count` tasks: to tell `ways` classes apart, drawn anew for each task.

    A row stands once in each task that has its class. Its label becomes the place of its class in the task's random
    order, so that a class has different labels in different tasks; `task` (int64) says which task it is. Classes are
    called by their places, `1`, `2` ...
    rows, test_rows: of each class in a task, at most; None for all. seed: of tasks and rows.
    Raises DataError, one line, for numbers that the set does not have.
    """
    if count < 1 or not 2 <= ways <= len(splits.classes):
        raise DataError(f"tasks: {count} tasks of {ways} of the set's {len(splits.classes)} classes cannot be made")
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(len(splits.classes))[:ways] for _ in range(count)]
    given = {"train": rows, "test": test_rows, "val": test_rows}
    made = {
        name: _tasks(getattr(splits, name), chosen, most, np.random.default_rng([seed, i]))
        for i, (name, most) in enumerate(given.items())
        if getattr(splits, name) is not None
    }
    return Splits(**made, warnings=splits.warnings, skipped=splits.skipped)


def _tasks(data: Dataset, chosen: list[np.ndarray], most: int | None, rng: np.random.Generator) -> Dataset:
    if "task" in data.roles:
        raise DataError(f"{data.name}: has a column task already")
    index, labels, tasks = [], [], []
    for task, classes in enumerate(chosen):
        for place, one in enumerate(classes):
            found = rng.permutation(np.flatnonzero(data.labels == one))[:most]
            index.append(found)
            labels.append(np.full(len(found), place))
            tasks.append(np.full(len(found), task))
    taken = data.take(np.concatenate(index))
    table = taken.table.set_column(
        taken.table.column_names.index("label"), "label", pa.array(np.concatenate(labels), pa.int64())
    ).append_column("task", pa.array(np.concatenate(tasks), pa.int64()))
    names = tuple(str(place + 1) for place in range(len(chosen[0])))
    return Dataset(table, {**data.roles, "task": "number"}, names, data.name)
