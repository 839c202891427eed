import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from warmstart.compare.request import Request, parse_seconds, parse_shots, plain
from warmstart.data import DataError

REQUEST = Request(
    ("minilm",), "rows.csv", {"label": "intent", "where": {"domain": "bank"}}, (1, 4, "all"), None, 3, 30.0, "accuracy"
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("2m", 120), ("1h", 3600), ("1.5", 1.5), (7, 7.0), (" 4 s", 4)]
)
def test_a_budget_is_a_time(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "fast", "0s", "-3", "30 sec", "inf", "1h30m", 0, float("inf"), float("nan")])
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(DataError, match="budget"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("given", "shots"),
    [("1,4,16,all", (1, 4, 16, "all")), ("all, 2,2", (2, "all")), (5, (5,)), ([16, "1"], (1, 16)), ("all", ("all",))],
)
def test_shots_are_sorted_and_each_stands_once(given, shots):
    assert parse_shots(given) == shots


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "", "1,,2", "²", []])
def test_shots_that_are_no_numbers_are_refused(given):
    with pytest.raises(DataError, match="shots"):
        parse_shots(given)


def test_survives_json():
    assert Request.from_json(json.loads(json.dumps(REQUEST.to_json()))) == REQUEST


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seeds": 5}, "seeds: 3 -> 5"),
        ({"shots": (1,)}, "shots: 1,4,all -> 1"),
        ({"source": "other.csv"}, "data: rows.csv -> other.csv"),
        ({"models": ("minilm", "zoo/vit-mnist")}, "model: minilm -> minilm,zoo/vit-mnist"),
        ({"data": {"label": "topic", "where": {"domain": "bank"}}}, "label: intent -> topic"),
        ({"data": {"label": "intent"}}, "where: domain=bank -> not given"),
        ({"data": {**REQUEST.data, "group": "user"}}, "group: not given -> user"),
        ({"budget": 2.0}, "budget: 30.0 -> 2.0"),
        ({"metric": "macro_f1"}, "metric: accuracy -> macro_f1"),
    ],
)
def test_names_what_differs(changes, line):
    assert replace(REQUEST, **changes).difference(REQUEST) == [line]


def test_methods_are_no_difference_since_a_board_can_get_more():
    assert replace(REQUEST, methods=("knn",)).difference(REQUEST) == []


def test_objects_are_told_from_what_has_a_name():
    assert plain(Path("a/b")) == ("a/b", True)
    assert plain({"domain": "photo"}) == ({"domain": "photo"}, True)
    assert plain(("a", "b")) == (["a", "b"], True)
    assert plain(np.zeros(3)) == ("ndarray", False)
