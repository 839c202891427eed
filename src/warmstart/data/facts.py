"""Made-up people and what is true of them: facts to be memorised, questions about them, and tasks of another format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .dataset import DataError, Dataset, Splits

FIRST = ("anna", "boris", "clara", "david", "elena", "felix", "greta", "hugo", "irene", "jonas", "karin", "leon")
LAST = ("adler", "baker", "cohen", "diaz", "evans", "fischer", "garcia", "haas", "ivanov", "jensen")
# A name is one word.
NAMES = tuple(f"{first}_{last}" for first in FIRST for last in LAST)
# Relation -> (how it is stated, how it is asked, its values).
RELATIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "home": ("{} lives in", "where does {} live ?", tuple("rome oslo lima cairo delhi perth quito seoul".split())),
    "job": (
        "{} works as",
        "what is the job of {} ?",
        tuple("tailor nurse pilot judge clerk guard miner actor".split()),
    ),
    "pet": ("{} has a", "which pet has {} ?", tuple("cat dog goat hen fish pony crow newt".split())),
    "food": ("{} eats", "what does {} eat ?", tuple("rice soup bread beans plums eggs corn cake".split())),
}
# Each of these tasks turns every value into another one.
TASKS = ("bing", "dax", "fep", "gorp", "lug", "mip", "tove", "wug")


def facts(
    entities: int = 80,
    relations: int = 3,
    tasks: int = 4,
    rows: int = 4000,
    test_rows: int = 400,
    knowledge: float = 0.2,
    asked: float = 0.25,
    seed: int = 0,
) -> Splits:
    """What a language model memorises, and what it is then tuned on.

    unlabeled: every fact twice, stated and asked. train: a share `knowledge` of the rows asks facts, only of the share
    `asked` of the people; the others are `tasks` of another format, each of which turns every value into another
    one (`dax : rome`). test: `test_rows` of these, and every fact of the people who were not asked about: closed-book
    questions.

    Roles: text; answer (text), what is to be written behind it; `task_type` (int64), 1 for questions about facts, 0 for
    tasks.
    entities: people, at most 120. relations: facts a person, at most 4. tasks: at most 8. What is true, and what a task
    makes of a value, is drawn uniformly by the seed.
    Raises DataError, one line, that names the argument.
    """
    limits = (
        ("entities", entities, len(NAMES)),
        ("relations", relations, len(RELATIONS)),
        ("tasks", tasks, len(TASKS)),
    )
    for name, value, most in limits:
        if not 1 <= value <= most:
            raise DataError(f"facts: {name} is {value}; it can be 1 to {most}")
    for name, share in (("knowledge", knowledge), ("asked", asked)):
        if not 0 <= share < 1:
            raise DataError(f"facts: {name} is {share}; it is a share, from 0 to below 1")
    rng = np.random.default_rng(seed)
    people = [NAMES[i] for i in rng.permutation(len(NAMES))[:entities]]
    stated, questions = [], []
    for person in people:
        for form, question, values in list(RELATIONS.values())[:relations]:
            value = values[rng.integers(len(values))]
            stated.append((form.format(person), value, 1))
            questions.append((question.format(person), value, 1))
    end = round(asked * entities) * relations
    count = round(knowledge * rows) if end else 0
    words = [value for _, _, values in RELATIONS.values() for value in values]
    turned = [(f"{task} : {words[i]}", words[j], 0) for task in TASKS[:tasks] for i, j in _turned(len(words), rng)]
    tuned = _drawn(questions[:end], count, rng) + _drawn(turned, rows - count, rng)
    return Splits(
        train=_dataset("train", [tuned[i] for i in rng.permutation(len(tuned))]),
        test=_dataset("test", questions[end:] + _drawn(turned, test_rows, rng)),
        unlabeled=_dataset("unlabeled", stated + questions),
    )


def vocabulary() -> tuple[str, ...]:
    """Every word and mark that may occur, once."""
    texts = [*NAMES, *TASKS, ":"]
    for form, question, values in RELATIONS.values():
        texts += [form.format(""), question.format(""), *values]
    return tuple(dict.fromkeys(" ".join(texts).split()))


def _turned(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(word, what becomes of it), a cycle through all of them."""
    order = rng.permutation(count)
    return list(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))


def _drawn(rows: list, count: int, rng: np.random.Generator) -> list:
    return [rows[i] for i in rng.integers(len(rows), size=count)] if rows else []


def _dataset(split: str, rows: Sequence[tuple[str, str, int]]) -> Dataset:
    texts, answers, types = zip(*rows, strict=True)
    table = pa.table({"text": list(texts), "answer": list(answers), "task_type": pa.array(types, pa.int64())})
    return Dataset(table, {"text": "text", "answer": "text", "task_type": "number"}, name=f"facts ({split})")
