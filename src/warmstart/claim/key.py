"""What a verdict depends on, as one key: it is stale where its key is another than the recipe's is now."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from .. import ingredients, verbs
from ..recipe import FOLDER, Recipe, load_recipe

# Raise by one when a change of engine, models or data changes what recipes find, as the golden runs of the tests
# tell: every verdict is then stale. Ingredients and verbs need no bump; their sources are in the key.
RESULTS_VERSION = 1

_ROOT = FOLDER.parent
_WEIGHTS = _ROOT / "models" / "zoo"


def run_key(recipe: Recipe) -> str:
    """Key of a recipe's runs: its steps in every arm, the sources of what these name, the results version.

    Comments and docstrings of a source do not count, nor do the recipe's comments, reason and assertions.
    """
    arms = {name: _essence(recipe.arm(name)) for name in recipe.arm_names}
    table = {"grid": recipe.content.grid, "across": recipe.content.across}
    return _digest({"version": RESULTS_VERSION, "arms": arms, **table, "sources": _sources(recipe)})


def verdict_key(recipe: Recipe) -> str:
    """Key of a recipe's verdict: that of its runs, and the assertions."""
    asserted = {"claim": recipe.content.claim, "mechanism": recipe.content.mechanism}
    return _digest({"runs": run_key(recipe), "budget": recipe.document.get("budget"), **asserted})


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _essence(recipe: Recipe) -> list:
    """In order: where a step stands counts, and where a path of its data lies on this machine does not."""
    steps = [[name, step.verb, step.arguments, step.keep] for name, step in recipe.steps.items()]
    return [recipe.document.get("model"), recipe.document.get("data"), steps]


def _sources(recipe: Recipe) -> dict[str, str]:
    found: dict[str, str] = {}
    whole = recipe.over_grid()[0] if recipe.content.grid else recipe
    for name in whole.arm_names:
        arm = whole.arm(name)
        model = arm.document.get("model")
        if isinstance(model, dict):
            found |= {f"models.{name}": source_digest(_ROOT / "models" / f"{name}.py") for name in model}
        for step in arm.steps.values():
            _add_step(found, step.verb, step.arguments)
        for weights in _strings([model, [step.arguments for step in arm.steps.values()]]):
            if weights.startswith("zoo/") and weights not in found:
                found[weights] = _weights_digest(weights)
    if recipe.content.across is not None:
        _add_ingredient(found, "probes", recipe.content.across)
    return found


def _add_step(found: dict[str, str], verb: str, arguments: dict) -> None:
    function = verbs.find(verb)
    found[f"verbs.{verb}"] = source_digest(_file(function))
    _add_slots(found, function, arguments)
    if verb == "recipe":
        key = run_key(load_recipe(arguments["name"]).changed(arguments.get("changes") or {}))
        found[f"recipes.{arguments['name']}.{key}"] = key
    elif isinstance(arguments.get("steps"), dict):
        _add_nested(found, arguments["steps"])


def _add_nested(found: dict[str, str], steps: dict) -> None:
    """Steps inside a step, as in `repeat`."""
    for step in steps.values():
        written = {key: value for key, value in step.items() if key != "keep"} if isinstance(step, dict) else {}
        if len(written) == 1:
            verb, value = next(iter(written.items()))
            if verb in verbs.names():
                _add_step(found, verb, verbs.arguments(verb, value))


def _add_slots(found: dict[str, str], function, arguments: dict) -> None:
    """The ingredients in a function's slots, those of its defaults included."""
    hints = ingredients.hints_of(function)
    for key, parameter in ingredients.signature_of(function).items():
        written = arguments.get(key, parameter.default)
        for kind, _ in ingredients.slots(hints.get(key)):
            for spec in written if isinstance(written, list) else [written]:
                _add_ingredient(found, kind, spec)


def _add_ingredient(found: dict[str, str], kind: str, spec) -> None:
    if isinstance(spec, str | dict) and len(spec):
        name, arguments = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
        if name in ingredients.names(kind):
            cls = ingredients.find(kind, name)
            found[f"{kind}.{name}"] = source_digest(_file(cls))
            _add_slots(found, cls.__init__, arguments if isinstance(arguments, dict) else {})


def _strings(value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _weights_digest(name: str) -> str:
    """Of the packaged checkpoint; of the runs of its recipe, where it is too large to be packaged."""
    folder = _WEIGHTS / name.removeprefix("zoo/")
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return run_key(load_recipe(name)) if (FOLDER / f"{name}.yaml").exists() else ""


def _file(thing) -> Path:
    return Path(inspect.getfile(sys.modules[thing.__module__]))


@functools.cache
def source_digest(file: Path) -> str:
    """Digest of what a source does: its syntax tree without comments, docstrings and layout.

    The same under all versions of Python that read the source alike.
    """
    return _digest(_canonical(ast.parse(file.read_text(encoding="utf-8"))))


def _canonical(node):
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _is_text(node.body):
            fields["body"] = node.body[1:]
        kept = {key: _canonical(value) for key, value in fields.items() if value is not None and value != []}
        return [type(node).__name__, kept]
    return [_canonical(item) for item in node] if isinstance(node, list) else repr(node)


def _is_text(body: list) -> bool:
    first = body[0] if body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
