"""Sources that are made by a procedure: `{NAME: {argument: value}}` in a recipe, `NAME:argument=value` in a shell."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable

from .dataset import DataError, Splits
from .raw import did_you_mean

# Name -> (module, function). The function returns Splits; its parameters are what can be written.
PROCEDURAL = {
    "world": ("warmstart.data.world.source", "world"),
    "grid": ("warmstart.data.world.grid", "grid"),
    "pairs": ("warmstart.data.world.pairs", "pairs"),
    "facts": ("warmstart.data.facts", "facts"),
    "synthetic_sequences": ("warmstart.data.synthetic_sequences", "synthetic_sequences"),
}


def is_procedural(source) -> bool:
    """Whether this names a procedure: a mapping with its name as the only key, or a string that begins with it."""
    if isinstance(source, dict):
        return len(source) == 1 and next(iter(source)) in PROCEDURAL
    return isinstance(source, str) and source.partition(":")[0] in PROCEDURAL


def make(source: dict | str) -> Splits:
    """Raises DataError, one line, where an argument is unknown or wrong."""
    name, arguments = _read(source)
    check({name: arguments})
    return _function(name)(**arguments)


def check(source: dict | str) -> None:
    """Raises DataError where an argument is unknown or of another type, without making anything."""
    from pydantic import TypeAdapter, ValidationError

    name, arguments = _read(source)
    function = _function(name)
    known = inspect.signature(function).parameters
    hints = inspect.get_annotations(function, eval_str=True)
    for key, value in arguments.items():
        if key not in known:
            raise DataError(f"{name} has no argument {key!r}{did_you_mean(key, known)}; it has: {', '.join(known)}")
        try:
            arguments[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            raise DataError(f"{name}: {key} is {value!r}: {first[0].lower() + first[1:]}") from None


def _read(source: dict | str) -> tuple[str, dict]:
    if isinstance(source, dict):
        name, arguments = next(iter(source.items()))
        return name, dict(arguments or {})
    name, _, written = source.partition(":")
    arguments = {}
    for item in filter(None, re.split(r",(?![^\[]*\])", written)):
        key, found, value = item.partition("=")
        if not found:
            raise DataError(f"{source}: {item!r} is no argument: write {name}:label=shape,train=500")
        arguments[key.strip()] = _value(value.strip())
    return name, arguments


def _value(text: str):
    if text.startswith("["):
        return [_value(item.strip()) for item in text.strip("[]").split(",") if item.strip()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _function(name: str) -> Callable[..., Splits]:
    module, function = PROCEDURAL[name]
    return getattr(importlib.import_module(module), function)
