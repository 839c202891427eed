"""A recipe or an ingredient with all its defaults filled in."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from . import ingredients, verbs
from .ingredients import nearest
from .recipe import Recipe, RecipeError, load_recipe, recipe_names, recipe_summary
from .recipe_cards import cards
from .strict_yaml import dump, one_line

_IN_A_STEP = {
    "objectives": "train: {{objective: {}}}",
    "tuners": "train: {{objective: cross_entropy, tuner: {}}}",
    "schedules": "train: {{objective: cross_entropy, schedule: {}}}",
    "predictors": "fit: {{predictor: {}}}",
    "probes": "probe: {}",
}


def show(name: str, claims: str | Path = "claims") -> str:
    """The text of `warmstart show NAME`, of an ingredient, a recipe, a card, or several of one name.

    claims: the folder of verdicts. Raises RecipeError where nothing has this name.
    """
    found = []
    kind = ingredients.kind_of(name)
    if kind is not None:
        found.append(show_ingredient(kind, name))
    if name in recipe_names() or Path(name).suffix in (".yaml", ".yml"):
        found.append(show_recipe(name, claims))
    elif name in cards():
        found.append(f"{cards()[name]}\nno recipe yet")
    if found:
        return "\n\n".join(found)
    known = [*recipe_names(), *cards(), *(one for kind in ingredients.CONTRACTS for one in ingredients.names(kind))]
    raise RecipeError(f"no ingredient, recipe or card {name!r}{nearest(name, known)}; see `warmstart list`")


def show_recipe(name: str, claims: str | Path = "claims") -> str:
    """The recipe as YAML, complete: it runs as it is printed. Comments tell of its card and its verdicts."""
    recipe = load_recipe(name)
    # A step that is left out stays, since an arm or a real set may put one in its place.
    steps = {key: step and complete_step(step) for key, step in recipe.document["steps"].items()}
    text = dump(recipe.document | {"steps": steps, "seeds": recipe.content.seeds})
    comments = [recipe_summary(name), str(cards().get(recipe.content.card, "")), *_verdicts(recipe, Path(claims))]
    return "".join(f"# {line}\n" for line in comments if line) + text.rstrip()


def complete_step(step: dict | str) -> dict:
    """A step as a recipe writes it, with every default; so are the steps inside it, as in `repeat`."""
    written = {step: None} if isinstance(step, str) else dict(step)
    keep = {key: written.pop(key) for key in ("keep",) if key in written}
    verb, value = next(iter(written.items()))
    function, arguments = verbs.find(verb), verbs.arguments(verb, value)
    found = complete_arguments(function, arguments)
    if isinstance(arguments.get("steps"), dict):
        found["steps"] = {key: inner and complete_step(inner) for key, inner in arguments["steps"].items()}
    takes_all = len(ingredients.signature_of(function)) == 1
    return {verb: next(iter(found.values())) if takes_all else found, **keep}


def _verdicts(recipe: Recipe, folder: Path) -> list[str]:
    """A line for each verdict on record."""
    files = [folder / f"{recipe.name}.json", *sorted((folder / "real").glob(f"{recipe.name}.*json"))]
    found = []
    for file in filter(Path.is_file, files):
        verdict = json.loads(file.read_text(encoding="utf-8"))
        tested = "; ".join(
            f"{one['assertion']}: {one['difference']:+.3g}"
            + ("" if one["low"] is None else f" [{one['low']:+.3g}, {one['high']:+.3g}]")
            for one in verdict.get("mechanism", verdict["assertions"])
        )
        found.append(
            f"{file.as_posix()}: {verdict['verdict']} ({verdict['level']}, {len(verdict['seeds'])} seeds): {tested}"
        )
    return found


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
    hints = ingredients.hints_of(function)
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
