"""What the user asked for."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields

from ..data.dataset import DataError

DEFAULT_MODEL, DEFAULT_DATA = "zoo/vit-mnist", "digits"
DEFAULT_SHOTS = ("1", "4", "16")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Request:
    """The arguments of a comparison, as plain values that fit into JSON.

    shots: labels a class, numbers or "all", in ascending order. budget: seconds a trial.
    data: keyword arguments of `load_data` beside the source. methods: names, as the user gave them; None
    stands for the default set of the data. seeds: 0 .. seeds - 1.
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

    def difference(self, other: Request) -> list[str]:
        """`name: theirs -> ours` of every argument that differs, methods left out."""
        return [
            f"{item.name}: {_plain(getattr(other, item.name))!r} -> {_plain(getattr(self, item.name))!r}"
            for item in fields(self)
            if item.name not in ("methods", "shots_asked")
            and _plain(getattr(self, item.name)) != _plain(getattr(other, item.name))
        ]

    def to_json(self) -> dict:
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, found: dict) -> Request:
        lists = {name: tuple(found[name]) for name in ("models", "shots")}
        methods = None if found["methods"] is None else tuple(found["methods"])
        return cls(**{**found, **lists, "methods": methods})


def parse_seconds(text: str | float) -> float:
    """`30s`, `2m`, `1h` or a number of seconds. Raises DataError where it is none of these."""
    if isinstance(text, int | float):
        found = float(text)
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
        if match is None:
            raise DataError(f"budget {text!r} is no time: write 30s, 2m or 1h")
        found = float(match[1]) * _UNITS[match[2] or "s"]
    if found <= 0:
        raise DataError(f"budget {text!r}: a trial needs more than no time")
    return found


def parse_shots(given) -> tuple[int | str, ...]:
    """`1,4,16,all` or a sequence, sorted and without repetition."""
    items = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int) else list(given)
    found: set = set()
    for item in items:
        text = str(item).strip()
        if text != "all" and (not text.isdigit() or int(text) < 1):
            raise DataError(f"shots {text!r}: write numbers of labels a class from 1 up, or all (as in 1,4,16,all)")
        found.add(text if text == "all" else int(text))
    return tuple(sorted(found, key=lambda shots: float("inf") if shots == "all" else shots))


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
