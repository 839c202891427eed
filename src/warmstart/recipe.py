"""Recipes: a short YAML of named steps, checked before anything runs."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from . import ingredients, verbs
from .ingredients import nearest
from .recipe_paths import references, with_value
from .recipe_schema import Document, Step
from .strict_yaml import YamlError, parse

FOLDER = Path(__file__).parent / "recipes"
START = "start"
BASE_ARM = "method"
_ASSERTION = re.compile(r"\s*([\w-]+)\.([\w.-]+)\s*(?:>=|<=|>|<|at least|within)\s*\S")


class RecipeError(ValueError):
    """A recipe cannot be run as it is: one line that names the file, the key, and what would be right."""


class Recipe:
    """A checked recipe. name: `zoo/vit-mnist`, or the file's. steps: name -> Step, without those set to null."""

    def __init__(self, document: dict, name: str = "recipe", where: str = "recipe"):
        self.name, self.where, self.document = name, where, document
        self.content = self._typed(document)
        self.steps = {key: self._step(key, value) for key, value in self.content.steps.items() if value is not None}
        if not self.steps:
            raise self._error(("steps",), "no steps: write at least one, as in `tune: {train: {...}}`")
        self._check_names()
        self._check_sources()

    def _error(self, path: Iterable, message: str) -> RecipeError:
        key = ".".join(str(part) for part in path)
        return RecipeError(f"{self.where}: {key + ': ' if key else ''}{message}")

    def _typed(self, document) -> Document:
        if not isinstance(document, dict):
            raise self._error((), "a recipe is a mapping with `steps`, `model` and `data`")
        for key in document:
            if key not in Document.model_fields:
                known = list(Document.model_fields)
                raise self._error((key,), f"no such key{nearest(key, known)}; a recipe has {', '.join(known)}")
        try:
            return Document.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "missing":
                raise self._error(first["loc"], "is missing") from None
            path, held = [], document
            for part in first["loc"]:
                if isinstance(held, dict | list) and (part in held or isinstance(part, int)):
                    path.append(part)
                    held = held[part]
            expected = "; a step is written `NAME: {VERB: {...}}`" if path[0] == "steps" else ""
            raise self._error(path, f"{first['msg']}, not {first['input']!r}{expected}") from None

    def _check_sources(self) -> None:
        """A model or data that is written as a mapping can be made from it."""
        from .data.load import load_data
        from .models.builders import check_builder

        if isinstance(self.content.model, dict):
            try:
                check_builder(self.content.model)
            except ValueError as error:
                raise self._error(("model",), str(error)) from None
        if isinstance(self.content.data, dict):
            try:
                ingredients.fill(load_data, self.content.data, "data", make=False)
            except ingredients.IngredientError as error:
                raise self._error(("data", *error.path), str(error)) from None

    def _step(self, name: str, value: dict | str) -> Step:
        path = ("steps", name)
        value = dict(value) if isinstance(value, dict) else {value: None}
        keep = value.pop("keep", None)
        if len(value) != 1:
            held = ", ".join(value) or "none"
            raise self._error(path, f"a step has one verb, and `keep` where its model stays; here: {held}")
        verb, written = next(iter(value.items()))
        if verb not in verbs.names():
            near = nearest(verb, verbs.names())
            raise self._error((*path, verb), f"no verb {verb!r}{near}; verbs: {', '.join(verbs.names())}")
        if keep is not None and (not isinstance(keep, str) or not re.fullmatch(r"[A-Za-z]\w*", keep)):
            raise self._error((*path, "keep"), f"keep takes a name of letters, digits and underscores, not {keep!r}")
        arguments = verbs.arguments(verb, written)
        try:
            ingredients.fill(verbs.find(verb), arguments, verb, make=False)
        except ingredients.IngredientError as error:
            raise self._error((*path, verb, *error.path), str(error)) from error
        return Step(verb=verb, arguments=arguments, keep=keep)

    def _check_names(self) -> None:
        """Every `@name` is what an earlier step left."""
        known = {START}
        for name, step in self.steps.items():
            for path, reference in references(step.arguments):
                if reference not in known:
                    near = nearest(reference, known)
                    listed = ", ".join(f"@{one}" for one in sorted(known))
                    raise self._error(
                        ("steps", name, step.verb, *path), f"@{reference} is no earlier step{near}; here: {listed}"
                    )
            for made in filter(None, (name, step.keep)):
                if made in known:
                    raise self._error(("steps", name), f"the name {made!r} is taken; each step and copy has its own")
                known.add(made)

    @cached_property
    def wanted(self) -> set[str]:
        """The names that some step refers to."""
        return {name for step in self.steps.values() for _, name in references(step.arguments)}

    @property
    def essence(self) -> tuple:
        """What decides a run's result, beside its seed."""
        steps = [(name, step.model_dump()) for name, step in self.steps.items()]
        return self.content.model, self.content.data, steps

    def check_arms(self) -> None:
        """Raises RecipeError where an arm's path matches nothing, two arms are the same, or a claim names none."""
        seen = {BASE_ARM: self}
        for name in self.content.arms:
            arm = self.arm(name)
            same = next((other for other, known in seen.items() if known.essence == arm.essence), None)
            if same is not None:
                raise self._error(("arms", name), f"is the same as {same}")
            seen[name] = arm
        for i, line in enumerate(self.content.claim):
            match = _ASSERTION.match(line)
            if match is None:
                raise self._error(("claim", i), f"{line!r} is no assertion: write ARM.METRIC > ARM.METRIC")
            for arm in re.findall(r"([A-Za-z_][\w-]*)\.[A-Za-z_]", line):
                if arm not in seen:
                    raise self._error(("claim", i), f"no arm {arm!r}{nearest(arm, seen)}; arms: {', '.join(seen)}")

    def arm(self, name: str) -> Recipe:
        """The recipe with an arm's changes made."""
        if name == BASE_ARM:
            return self
        if name not in self.content.arms:
            known = [BASE_ARM, *self.content.arms]
            raise self._error((), f"no arm {name!r}{nearest(name, known)}; arms: {', '.join(known)}")
        return self.changed(self.content.arms[name], ("arms", name))

    def changed(self, paths: dict, origin: tuple = ("overrides",)) -> Recipe:
        """The recipe with other values at some paths: `tune`, `tune.tuner`, `tune.objective.info_nce.temperature`,
        `model`. A step set to None is left out. Raises RecipeError where a path matches nothing.
        """
        document = copy.deepcopy(self.document)
        for key in ("arms", "claim"):
            document.pop(key, None)
        for path, value in paths.items():
            try:
                document = with_value(document, path.split("."), copy.deepcopy(value))
            except LookupError as error:
                raise self._error((*origin, path), error.args[0]) from None
        return Recipe(document, self.name, f"{self.where}: {'.'.join(origin)}")


def recipe_names() -> list[str]:
    """The packaged recipes: `head-then-all`, `zoo/vit-mnist`, ..."""
    return sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))


def recipe_summary(name: str) -> str:
    """The recipe's first line, a comment that says what it does."""
    first = find_recipe(name).read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def find_recipe(name: str | Path) -> Path:
    """The file of a packaged recipe by name, or any YAML file by path."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"{path}: no such file")
        return path
    packaged = FOLDER / f"{name}.yaml"
    if str(name) not in recipe_names():
        known = recipe_names()
        raise RecipeError(f"no recipe {str(name)!r}{nearest(str(name), known)}; recipes: {', '.join(known)}")
    return packaged


def load_recipe(source: str | Path | dict | Recipe) -> Recipe:
    """A checked recipe from a packaged one's name, a YAML file, or the same as a dict."""
    if isinstance(source, Recipe):
        return source
    if isinstance(source, dict):
        recipe = Recipe(source)
    else:
        file = find_recipe(source)
        try:
            document = parse(file.read_text(encoding="utf-8"))
        except (YamlError, UnicodeDecodeError) as error:
            raise RecipeError(f"{file}: {error}") from None
        inside = file.is_relative_to(FOLDER)
        name = str(file.relative_to(FOLDER).with_suffix("")) if inside else file.stem
        recipe = Recipe(document, name, f"recipes/{name}.yaml" if inside else str(file))
    recipe.check_arms()
    return recipe
