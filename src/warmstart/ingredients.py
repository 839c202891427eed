"""The registry: a folder's files are its ingredients, an entry point adds more.

Nothing is imported to list names or summaries, so that `warmstart list` and `--help` answer at once.
"""

from __future__ import annotations

import ast
import collections.abc
import difflib
import functools
import importlib
import importlib.util
import inspect
import types
import typing
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

CONTRACTS = {
    "objectives": "Objective",
    "updates": "Update",
    "tuners": "Tuner",
    "views": "View",
    "predictors": "Predictor",
    "rewards": "Reward",
    "curators": "Curator",
    "schedules": "Schedule",
    "streams": "Stream",
    "mergers": "Merger",
    "decoders": "Decoder",
    "compressors": "Compressor",
    "probes": "Probe",
}
_ROOT = Path(__file__).parent


class IngredientError(ValueError):
    """A recipe asks for what does not exist, or writes it wrongly: one line for the user.

    path: keys from what was asked for down to the mistake.
    """

    def __init__(self, message: str, path: tuple[str, ...] = ()):
        super().__init__(message)
        self.path = path


def names(kind: str) -> list[str]:
    """All ingredients of a kind, ours and those of installed packages (entry points `warmstart.<kind>`)."""
    _check_kind(kind)
    return sorted([*_own(kind), *_foreign(kind)])


def kind_of(name: str, kinds: typing.Iterable[str] = CONTRACTS) -> str | None:
    """The kind in which this name stands; None where it is no ingredient."""
    return next((kind for kind in kinds if name in _own(kind) or name in _foreign(kind)), None)


def summary(kind: str, name: str) -> str:
    """First line of the class's docstring, without importing it where it is ours."""
    if name in _own(kind):
        tree = ast.parse(_own(kind)[name].read_text())
        wanted = class_name(name)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == wanted:
                return (ast.get_docstring(node) or "").partition("\n")[0]
        return ""
    return (find(kind, name).__doc__ or "").strip().partition("\n")[0]


def class_name(name: str) -> str:
    """`nearest_mean` -> `NearestMean`."""
    return "".join(piece.capitalize() for piece in name.split("_"))


def find(kind: str, name: str) -> type:
    """The class of an ingredient. Raises IngredientError, with the nearest name, where there is none."""
    _check_kind(kind)
    if name in _own(kind):
        module = importlib.import_module(f"warmstart.{kind}.{name}")
        return getattr(module, class_name(name))
    if name in _foreign(kind):
        cls = _foreign(kind)[name].load()
        if cls.__module__.rpartition(".")[2] != name:
            # Checkpoints and records name it by its file, and find it again by its entry point.
            raise IngredientError(
                f"{singular(kind)} {name!r} stands in the module {cls.__module__}: name its entry point after its file"
            )
        return cls
    raise IngredientError(f"no {singular(kind)} {name!r}{nearest(name, names(kind))}")


def build(kind: str, spec) -> object:
    """An ingredient from how a recipe writes it: `name`, `{name: {parameter: value}}`, or an object as it is.

    Parameters annotated with another kind's contract are slots: what is written there, and a default that is
    written as a recipe would (`predictor: Predictor = "logistic"`), is built in turn.
    Raises IngredientError, one line that names the ingredient and the parameter.
    """
    if isinstance(spec, _contract(kind)):
        return spec
    name, arguments = split(kind, spec)
    cls = find(kind, name)
    built = fill(cls.__init__, arguments, f"{singular(kind)} {name}")
    try:
        return cls(**built)
    except (TypeError, ValueError) as error:
        raise IngredientError(f"{singular(kind)} {name}: {error}") from error


def check(kind: str, spec) -> None:
    """Raise the IngredientError that `build` would raise for names and types, without making anything."""
    if not isinstance(spec, _contract(kind)):
        name, arguments = split(kind, spec)
        cls = find(kind, name)
        try:
            fill(cls.__init__, arguments, f"{singular(kind)} {name}", make=False)
        except IngredientError as error:
            raise IngredientError(str(error), (name, *error.path)) from error


def fill(function: typing.Callable, arguments: dict, owner: str, *, make: bool = True) -> dict:
    """Arguments for a function, by its signature: slots built (only checked without `make`), types checked.

    owner: what messages call the function. A first parameter `self` or `state` is the caller's.
    """
    known = signature_of(function)
    hints = hints_of(function)
    for key in arguments:
        if key not in known:
            listed = ", ".join(known) or "none"
            raise IngredientError(f"{owner} has no parameter {key!r}{nearest(key, known)}; it has: {listed}", (key,))
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise IngredientError(f"{owner} needs {key!r}")
    defaults = {key: p.default for key, p in known.items() if key not in arguments and slots(hints.get(key))}
    filled = {}
    for key, value in {**arguments, **{k: v for k, v in defaults.items() if isinstance(v, str | dict)}}.items():
        try:
            filled[key] = _fill(hints.get(key), value, make)
        except IngredientError as error:
            raise IngredientError(str(error), (key, *error.path)) from error
        except _WrongType as error:
            raise IngredientError(f"{owner}: {key} is {value!r}: {error}", (key,)) from error
    return filled


@functools.cache
def signature_of(function: typing.Callable) -> typing.Mapping[str, inspect.Parameter]:
    """The parameters that a recipe writes, by name."""
    found = list(inspect.signature(function).parameters.values())
    if found and found[0].name in ("self", "state"):
        del found[0]
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return types.MappingProxyType({p.name: p for p in found if p.kind not in open_ended})


@functools.cache
def hints_of(function: typing.Callable) -> typing.Mapping[str, object]:
    """The types of a function's parameters, by name."""
    return typing.get_type_hints(function)


def slot_names(function: typing.Callable) -> set[str]:
    """The parameters that take an ingredient."""
    hints = hints_of(function)
    return {key for key in signature_of(function) if slots(hints.get(key))}


def split(kind: str, spec) -> tuple[str, dict]:
    """(name, arguments) of an ingredient as a recipe writes it."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, dict) and len(spec) == 1:
        name, arguments = next(iter(spec.items()))
        if arguments is None:
            return name, {}
        if isinstance(arguments, dict):
            return name, arguments
    raise IngredientError(f"a {singular(kind)} is written `name` or `{{name: {{parameter: value}}}}`, not {spec!r}")


def parameters(kind: str, name: str) -> typing.Mapping[str, inspect.Parameter]:
    """The parameters of an ingredient with their annotations and defaults."""
    return signature_of(find(kind, name).__init__)


def required(kind: str, name: str) -> list[str]:
    """The parameters without which it cannot be built."""
    return [key for key, one in parameters(kind, name).items() if one.default is inspect.Parameter.empty]


def singular(kind: str) -> str:
    return CONTRACTS[kind].lower()


class _WrongType(ValueError):
    pass


def _contract(kind: str) -> type:
    return getattr(importlib.import_module(f"warmstart.{kind}"), CONTRACTS[kind])


def _fill(hint, value, make: bool):
    """Build, or check, what stands in a slot; check the type of plain values."""
    for kind, contract in slots(hint):
        if isinstance(value, list) and _takes_list(hint):
            return [_fill(contract, item, make) for item in value]
        if isinstance(value, str | dict | list):
            if make:
                return build(kind, value)
            check(kind, value)
        return value
    return _typed(hint, value)


def _takes_list(hint) -> bool:
    options = (hint, *typing.get_args(hint))
    return any(typing.get_origin(option) in (list, tuple, collections.abc.Sequence) for option in options)


def _typed(hint, value):
    """The value as its annotation's type; as it is where the annotation is no type of plain data."""
    if hint is None or (isinstance(value, str) and value.startswith("@")):
        return value
    from pydantic import PydanticSchemaGenerationError, ValidationError

    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        raise _WrongType(first[0].lower() + first[1:]) from None
    except PydanticSchemaGenerationError:
        return value


@functools.cache
def _adapter(hint):
    """What checks values of a type; it takes long to make."""
    from pydantic import TypeAdapter

    return TypeAdapter(hint)


def slots(hint) -> list[tuple[str, type]]:
    """(kind, contract) of every contract that this annotation names."""
    options = typing.get_args(hint) or (hint,)
    found = []
    for option in options:
        if typing.get_args(option):
            found += slots(option)
        elif isinstance(option, type) and not isinstance(option, types.GenericAlias):
            for kind, contract in CONTRACTS.items():
                if option.__module__ == f"warmstart.{kind}" and option.__name__ == contract:
                    found.append((kind, option))
    return found


def _check_kind(kind: str) -> None:
    if kind not in CONTRACTS:
        raise IngredientError(f"no kind {kind!r}{nearest(kind, list(CONTRACTS))}; kinds: {', '.join(CONTRACTS)}")


def nearest(name: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


@functools.cache
def _own(kind: str) -> dict[str, Path]:
    return {p.stem: p for p in sorted((_ROOT / kind).glob("*.py")) if not p.stem.startswith("_")}


@functools.cache
def _foreign(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"warmstart.{kind}")}
