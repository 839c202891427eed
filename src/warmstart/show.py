"""A recipe or an ingredient with all its defaults filled in."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path

from . import ingredients, verbs
from .ingredients import nearest
from .recipe import RecipeError, load_recipe, recipe_names, recipe_summary
from .strict_yaml import dump, one_line

_IN_A_STEP = {
    "objectives": "train: {{objective: {}}}",
    "tuners": "train: {{objective: cross_entropy, tuner: {}}}",
    "schedules": "train: {{objective: cross_entropy, schedule: {}}}",
    "predictors": "fit: {{predictor: {}}}",
    "probes": "probe: {}",
}


def show(name: str) -> str:
    """The text of `warmstart show NAME`. Raises RecipeError where there is no such ingredient or recipe."""
    kind = ingredients.kind_of(name)
    if kind is not None:
        return show_ingredient(kind, name)
    if name in recipe_names() or Path(name).suffix in (".yaml", ".yml"):
        return show_recipe(name)
    known = [*recipe_names(), *(one for kind in ingredients.CONTRACTS for one in ingredients.names(kind))]
    raise RecipeError(f"no ingredient or recipe {name!r}{nearest(name, known)}; see `warmstart list`")


def show_recipe(name: str) -> str:
    """The recipe as YAML, complete: it runs as it is printed."""
    recipe = load_recipe(name)
    steps: dict = {}
    for key, step in recipe.steps.items():
        written = complete_arguments(verbs.find(step.verb), step.arguments)
        takes_all = len(ingredients.signature_of(verbs.find(step.verb))) == 1
        steps[key] = {step.verb: next(iter(written.values())) if takes_all else written}
        if step.keep is not None:
            steps[key]["keep"] = step.keep
    content = recipe.content
    about = {"card": content.card, "model": content.model, "data": content.data, "steps": steps}
    about |= {"arms": content.arms, "claim": content.claim, "seeds": content.seeds}
    summary = recipe_summary(name)
    text = dump({key: value for key, value in about.items() if value not in (None, {}, [])})
    return (f"# {summary}\n" if summary else "") + text.rstrip()


def show_ingredient(kind: str, name: str) -> str:
    """Docstring, parameters with annotations and defaults, and a line to paste into a recipe."""
    cls = ingredients.find(kind, name)
    lines = [f"{ingredients.singular(kind)} {name}", "", inspect.getdoc(cls) or "", ""]
    known = ingredients.parameters(kind, name)
    lines.append("parameters" if known else "no parameters")
    for key, parameter in known.items():
        annotation = "" if parameter.annotation is parameter.empty else f": {_annotation(parameter.annotation)}"
        default = " (required)" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"  {key}{annotation}{default}")
    line = _IN_A_STEP.get(kind, f"{ingredients.singular(kind)}: {{}}").format(one_line(complete(kind, name)))
    return "\n".join([*lines, "", "in a recipe", f"  {line}"])


def complete(kind: str, spec) -> dict | str:
    """`{name: {parameter: value}}` with every default, of the ingredient and of what stands in its slots."""
    name, arguments = ingredients.split(kind, spec)
    found = complete_arguments(ingredients.find(kind, name).__init__, arguments)
    return {name: found} if found else name


def complete_arguments(function, arguments: dict) -> dict:
    """Arguments by the function's signature, defaults and slots filled in, as plain YAML values."""
    hints = typing.get_type_hints(function)
    found = {}
    for key, parameter in ingredients.signature_of(function).items():
        if key in arguments:
            value = arguments[key]
        elif parameter.default is parameter.empty:
            value = "..."
        else:
            value = parameter.default
        found[key] = _complete_value(hints.get(key), value)
    return found


def _complete_value(hint, value):
    for kind, _ in ingredients.slots(hint):
        if isinstance(value, list):
            return [_complete_value(hint, item) for item in value]
        if isinstance(value, str | dict) and value != "...":
            return complete(kind, value)
    return _plain(value)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _annotation(annotation) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
