"""What can be compared: predictors, tuners, recipes, and the floors that stand in every board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import ingredients
from ..data.dataset import DataError
from . import floors

CLOSED_FORM = ("nearest_mean", "knn", "ridge", "logistic", "gda", "feature_cache", "zero_shot")
KINDS = ("predictors", "tuners")
QUICK = (*CLOSED_FORM, "linear_head", "freeze", "lora", "full")


@dataclass(frozen=True)
class Method:
    """name: as the board shows it. kind: `floor`, `predictor`, `tuner` or `recipe`."""

    name: str
    kind: str


def resolve(names: Sequence[str] | None) -> list[Method]:
    """The methods asked for, after the floors. `all` stands for every predictor and tuner that needs no arguments.

    Raises DataError, with the nearest name, for a name that is no predictor, tuner or recipe, and for one that needs
    arguments.
    """
    if names is not None and not names:
        raise DataError("no methods: name some with commas between, or all; see `warmstart list`")
    asked: list[str] = []
    for name in QUICK if names is None else names:
        asked += _every() if name == "all" else [name]
    found = [Method(name, "floor") for name in floors.NAMES]
    found += [_method(name) for name in dict.fromkeys(asked) if name not in floors.NAMES]
    return found


def _every() -> list[str]:
    return [name for kind in KINDS for name in ingredients.names(kind) if not ingredients.required(kind, name)]


def _method(name: str) -> Method:
    kind = ingredients.kind_of(name, KINDS)
    if kind is not None:
        missing = ingredients.required(kind, name)
        if missing:
            raise DataError(f"{name} needs {', '.join(missing)}: write a recipe that gives them and compare that")
        return Method(name, ingredients.singular(kind))
    from ..recipe import recipe_names

    recipes = recipe_names()
    if name in recipes:
        return Method(name, "recipe")
    known = [*(name for kind in KINDS for name in ingredients.names(kind)), *recipes]
    raise DataError(f"no method {name!r}{ingredients.nearest(name, known)}; see `warmstart list`")
