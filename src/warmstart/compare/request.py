"""What the user asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..data.dataset import DataError

DEFAULT_MODEL, DEFAULT_DATA = "zoo/vit-mnist", "digits"
DEFAULT_SHOTS = ("1", "4", "16")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Request:
    """The arguments of a comparison, as plain values that fit into JSON.

    shots: labels a class, numbers or "all", in ascending order. budget: seconds a trial.
    data: keyword arguments of `load_data` beside the source. methods: names, as the user gave them; None
    stands for the default set of the data. seeds: 0 .. seeds - 1. objects: the arguments that were objects in
    memory, which another process cannot find by the name that stands here for them.
    """

    models: tuple[str, ...]
    source: str
    data: dict
    shots: tuple[int | str, ...]
    methods: tuple[str, ...] | None
    seeds: int
    budget: float
    metric: str
    shots_asked: bool = True
    objects: tuple[str, ...] = ()

    def difference(self, other: Request) -> list[str]:
        """`name: theirs -> ours` of every argument that differs, methods left out."""
        ours, theirs = self._arguments(), other._arguments()
        return [
            f"{name}: {_shown(theirs.get(name))} -> {_shown(ours.get(name))}"
            for name in dict.fromkeys([*theirs, *ours])
            if ours.get(name) != theirs.get(name)
        ]

    def _arguments(self) -> dict:
        """By the names that the user gives them."""
        known = {"model": self.models, "data": self.source, **self.data, "shots": self.shots, "seeds": self.seeds}
        return known | {"budget": self.budget, "metric": self.metric}

    def to_json(self) -> dict:
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, found: dict) -> Request:
        lists = {name: tuple(found[name]) for name in ("models", "shots", "objects")}
        methods = None if found["methods"] is None else tuple(found["methods"])
        return cls(**{**found, **lists, "methods": methods})


def plain(value) -> tuple[object, bool]:
    """(the value as JSON holds it, whether it is all there is to it); an object is held by a name."""
    if isinstance(value, Path):
        return str(value), True
    if isinstance(value, str | int | float | bool):
        return value, True
    if isinstance(value, Mapping) and all(isinstance(item, str | int | float | bool) for item in value.values()):
        return {str(key): item for key, item in value.items()}, True
    if isinstance(value, Sequence) and all(isinstance(item, str | int | float | bool) for item in value):
        return list(value), True
    return str(getattr(value, "name", None) or type(value).__name__), False


def parse_seconds(text: str | float) -> float:
    """`30s`, `2m`, `1h` or a number of seconds. Raises DataError where it is none of these."""
    if isinstance(text, int | float):
        found = float(text)
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
        if match is None:
            raise DataError(f"budget {text!r} is no time: write 30s, 2m or 1h")
        found = float(match[1]) * _UNITS[match[2] or "s"]
    if not 0 < found < float("inf"):
        raise DataError(f"budget {text!r}: a trial needs some time, and not all of it")
    return found


def parse_shots(given) -> tuple[int | str, ...]:
    """`1,4,16,all` or a sequence, sorted and without repetition."""
    items = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int) else list(given)
    found: set = set()
    for item in items:
        text = str(item).strip()
        # isdigit alone also takes superscripts, which int does not
        if text != "all" and not (text.isascii() and text.isdigit() and int(text) > 0):
            raise DataError(f"shots {text!r}: write numbers of labels a class from 1 up, or all (as in 1,4,16,all)")
        found.add(text if text == "all" else int(text))
    if not found:
        raise DataError("no shots: write numbers of labels a class from 1 up, or all (as in 1,4,16,all)")
    return tuple(sorted(found, key=lambda shots: float("inf") if shots == "all" else shots))


def _shown(value) -> str:
    if value is None:
        return "not given"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
