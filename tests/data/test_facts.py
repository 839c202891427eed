"""Facts about made-up people: what is memorised, asked and tuned on."""

import pytest

from warmstart.data.dataset import DataError
from warmstart.data.facts import TASKS, facts, vocabulary
from warmstart.data.load import load_data


def pairs(data):
    return list(zip(data.texts("text"), data.texts("answer"), data.table["task_type"].to_pylist(), strict=True))


def test_every_fact_is_stated_and_asked_with_one_answer():
    splits = facts(entities=20, relations=2)
    rows = pairs(splits.unlabeled)
    assert len(rows) == len({text for text, _, _ in rows}) == 80
    stated = {text.removesuffix(" lives in"): answer for text, answer, _ in rows if text.endswith("lives in")}
    asked = {text.split(" does ")[1].removesuffix(" live ?"): answer for text, answer, _ in rows if "where" in text}
    assert stated == asked
    assert len(stated) == 20


def test_tests_ask_about_people_that_training_does_not():
    splits = facts(entities=40, relations=3, asked=0.25, knowledge=0.3, rows=1000)
    train = [row for row in pairs(splits.train) if row[2] == 1]
    test = [row for row in pairs(splits.test) if row[2] == 1]
    assert len(train) == 300
    assert len(test) == 90
    assert not {text for text, _, _ in train} & {text for text, _, _ in test}
    assert set(train) | set(test) <= set(pairs(splits.unlabeled))


def test_a_task_turns_every_word_into_one_other():
    splits = facts(tasks=2, rows=3000)
    made = {text: answer for text, answer, kind in pairs(splits.train) if kind == 0}
    for task in TASKS[:2]:
        turned = {text.removeprefix(f"{task} : "): word for text, word in made.items() if text.startswith(task)}
        assert len(set(turned.values())) == len(turned) == 32
        assert all(word != other for word, other in turned.items())
    assert {made[text] for text, answer, kind in pairs(splits.test) if kind == 0} <= set(made.values())


def test_the_same_seed_gives_the_same_rows_and_all_words_are_known():
    first, second = (facts(seed=3, rows=50) for _ in range(2))
    assert pairs(first.train) == pairs(second.train) != pairs(facts(seed=4, rows=50).train)
    words = {word for row in pairs(first.unlabeled) + pairs(first.train) for word in f"{row[0]} {row[1]}".split()}
    assert words <= set(vocabulary())


def test_is_a_source_by_name():
    assert len(load_data("facts:entities=10,relations=1,rows=20").train) == 20
    with pytest.raises(DataError, match="entities is 500"):
        load_data({"facts": {"entities": 500}})
    with pytest.raises(DataError, match="knowledge is 1"):
        load_data({"facts": {"knowledge": 1.0}})
