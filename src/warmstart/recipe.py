"""Recipes: a short YAML of named steps, checked before anything runs."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from . import ingredients, verbs
from .ingredients import nearest
from .recipe_assertions import Assertion, parse_assertion
from .recipe_cards import cards
from .recipe_paths import SOURCES, references, with_value
from .recipe_schema import LEAST, WORDS, Document, Step
from .recipe_sources import arguments, located
from .strict_yaml import YamlError, parse

FOLDER = Path(__file__).parent / "recipes"
START = "start"
BASE_ARM = "method"
REAL = "real"
_NAME = r"[A-Za-z_][\w-]*"
# What makes a recipe's run, beside its arms.
_OF_A_RUN = ("card", "model", "data", "steps", "seeds")


class RecipeError(ValueError):
    """A recipe cannot be run as it is: one line that names the file, the key, and what would be right."""


class Recipe:
    """A checked recipe. name: `zoo/vit-mnist`, or the file's. steps: name -> Step, without those set to null.

    document: as written. content: the same typed, with the paths of data that lie in the data root written out.
    within: the files whose steps lead here, its own last.
    """

    def __init__(self, document: dict, name: str = "recipe", where: str = "recipe", within: tuple[Path, ...] = ()):
        self.name, self.where, self.document, self.within = name, where, document, within
        self._arms: dict[str, Recipe] = {}
        typed = self._typed(document)
        self.content = typed.model_copy(update={"data": located(typed.data)})
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
        from .data import procedural
        from .data.dataset import DataError
        from .data.load import load_data
        from .models.builders import check_builder

        if isinstance(self.content.model, dict):
            try:
                check_builder(self.content.model)
            except ValueError as error:
                raise self._error(("model",), str(error)) from None
        if procedural.is_procedural(self.content.data):
            try:
                procedural.check(self.content.data)
            except DataError as error:
                raise self._error(("data",), str(error)) from None
        elif isinstance(self.content.data, dict):
            try:
                ingredients.fill(load_data, arguments(self.content.data), "data", make=False)
            except ingredients.IngredientError as error:
                raise self._error(("data", *error.path), str(error)) from None

    def _step(self, name: str, value: dict | str, path: tuple = ("steps",)) -> Step:
        path = (*path, name)
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
        given = verbs.arguments(verb, written)
        try:
            ingredients.fill(verbs.find(verb), given, verb, make=False)
        except ingredients.IngredientError as error:
            raise self._error((*path, verb, *error.path), str(error)) from error
        self._check_values(given, (*path, verb))
        return Step(verb=verb, arguments=given, keep=keep, steps=self._nested(verb, given, (*path, verb)))

    def _check_values(self, given: dict, path: tuple) -> None:
        for key, value in given.items():
            if isinstance(value, int | float) and value < LEAST.get(key, value):
                raise self._error((*path, key), f"is {value}; it is at least {LEAST[key]}")
            if isinstance(value, str) and key in WORDS and value not in WORDS[key] and not value.startswith("@"):
                known = f"{', '.join(WORDS[key])} or the @name of an earlier step"
                raise self._error((*path, key), f"no {value!r}{nearest(value, WORDS[key])}; write {known}")

    def _nested(self, verb: str, given: dict, path: tuple) -> dict[str, Step]:
        """The steps inside a `repeat`, or those of the recipe that a `recipe` names."""
        if verb == "recipe":
            try:
                return load_recipe(given["name"], self.within).changed(given.get("changes") or {}).steps
            except RecipeError as error:
                raise self._error(path, str(error)) from None
        if verb != "repeat":
            return {}
        inside = (*path, "steps")
        found = {name: self._step(name, one, inside) for name, one in given["steps"].items() if one is not None}
        if not found:
            raise self._error(inside, "no steps to repeat")
        return found

    def _check_names(self) -> None:
        """Every `@name` is what an earlier step left."""
        self._check_names_of(self.steps, {START}, set(), ("steps",))

    def _check_names_of(self, steps: dict[str, Step], known: set[str], kept: set[str], path: tuple) -> None:
        """kept: names of copies outside, which a repeated step may take anew."""
        here: set[str] = set()
        for name, step in steps.items():
            if step.steps:
                self._check_names_of(step.steps, known, kept | here, (*path, name, step.verb, "steps"))
            for inside, reference in references({} if step.steps else step.arguments):
                if reference not in known:
                    near = nearest(reference, known)
                    listed = ", ".join(f"@{one}" for one in sorted(known))
                    where = (*path, name, step.verb, *inside)
                    raise self._error(where, f"@{reference} is no earlier step{near}; here: {listed}")
            for made in filter(None, (name, step.keep)):
                if made in known and made not in kept:
                    raise self._error((*path, name), f"the name {made!r} is taken; each step and copy has its own")
                known.add(made)
            if step.keep is not None:
                here.add(step.keep)

    @cached_property
    def wanted(self) -> set[str]:
        """The names that some step refers to."""
        return _wanted(self.steps)

    @property
    def essence(self) -> tuple:
        """What decides a run's result, beside its seed."""
        steps = [(name, step.model_dump()) for name, step in self.steps.items()]
        return self.content.model, self.content.data, steps

    def check(self) -> None:
        """Raises RecipeError where arms, grid, assertions or real sets cannot be used as they are written."""
        content = self.content
        if content.card is not None and content.card not in cards():
            raise self._error(("card",), f"no card {content.card!r}{nearest(content.card, cards())}")
        self.check_arms()
        self._check_assertions()
        self._check_grid()
        if isinstance(content.reason, dict):
            known = ["world", *(self.real_sets or [REAL])]
            for key in content.reason:
                if key not in known:
                    raise self._error(("reason", key), f"no such run{nearest(key, known)}; runs: {', '.join(known)}")
        for name in self.real_sets:
            self.on_real(name).check_arms()

    def check_arms(self) -> None:
        """Raises RecipeError where an arm's path matches nothing, or two arms are the same."""
        seen = {BASE_ARM: self}
        for name in self.content.arms:
            if name == BASE_ARM or not re.fullmatch(_NAME, name):
                wrong = "is the recipe itself" if name == BASE_ARM else "is no name: use letters, digits, _ and -"
                raise self._error(("arms", name), f"{wrong}; call the arm something else")
            arm = self.arm(name)
            same = next((other for other, known in seen.items() if known.essence == arm.essence), None)
            if same is not None:
                raise self._error(("arms", name), f"is the same as {same}")
            seen[name] = arm

    def _check_assertions(self) -> None:
        self.assertions("claim"), self.assertions("mechanism")
        if self.content.mechanism and not self.content.claim:
            raise self._error(("mechanism",), "is tested where a claim does not hold; write the `claim` too")
        if self.content.budget is not None:
            for i, arm in enumerate(self.content.budget.arms or []):
                self._check_arm(arm, ("budget", "arms", i))

    def _check_grid(self) -> None:
        content = self.content
        if bool(content.grid) != (content.across is not None):
            key, other = ("grid", "across: PROBE") if content.grid else ("across", "grid: {path: [values]}")
            raise self._error((key,), f"needs `{other}` beside it")
        for path, values in content.grid.items():
            if not values:
                raise self._error(("grid", path), "is empty: write the values")
            self.changed({path: values[0]}, ("grid",))
        if content.across is not None:
            try:
                ingredients.check("probes", content.across)
            except ingredients.IngredientError as error:
                raise self._error(("across", *error.path), str(error)) from None

    def assertions(self, key: str = "claim") -> list[Assertion]:
        """What stands under `claim` or `mechanism`. Raises RecipeError where a line is none, or names no arm."""
        found = []
        for i, line in enumerate(getattr(self.content, key)):
            try:
                found.append(parse_assertion(line))
            except ValueError as error:
                raise self._error((key, i), str(error)) from None
            for measure in found[-1].measures:
                self._check_arm(measure.arm, (key, i))
        return found

    def _check_arm(self, arm: str, path: tuple) -> None:
        if arm not in self.arm_names:
            raise self._error(path, f"no arm {arm!r}{nearest(arm, self.arm_names)}; arms: {', '.join(self.arm_names)}")

    @property
    def arm_names(self) -> list[str]:
        return [BASE_ARM, *self.content.arms]

    @cached_property
    def real_sets(self) -> dict[str, dict]:
        """Name -> {path: value} of every real set; the only one is `real` where it has no name."""
        written = self.content.real
        heads = (*SOURCES, *self.content.steps)
        if not written or any(path.partition(".")[0] in heads for path in written):
            return {REAL: written} if written else {}
        for name, paths in written.items():
            if not isinstance(paths, dict) or not re.fullmatch(_NAME, name):
                raise self._error((REAL, name), "write {path: value}, or {NAME: {path: value}} for several sets")
        return written

    def on_real(self, name: str) -> Recipe:
        """The recipe with its arms and claim, on one of its real sets."""
        origin = (REAL,) if name == REAL else (REAL, name)
        changed = self.changed(self.real_sets[name], origin).document
        kept = {key: value for key, value in self.document.items() if key != REAL}
        return Recipe({**copy.deepcopy(kept), **changed}, self.name, f"{self.where}: {'.'.join(origin)}", self.within)

    def over_grid(self) -> tuple[Recipe, dict[str, dict[str, dict]]]:
        """(a recipe whose arms are the runs of the grid, arm -> name of its run -> what the grid changed)."""
        grid = self.content.grid
        combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        arms, table = {}, {}
        for arm in self.arm_names:
            runs = {f"{arm}-{i + 1}": changes for i, changes in enumerate(combinations)}
            arms |= {name: {**changes, **self.content.arms.get(arm, {})} for name, changes in runs.items()}
            table[arm] = runs
        document = {key: self.document[key] for key in _OF_A_RUN if key in self.document}
        return Recipe(copy.deepcopy({**document, "arms": arms}), self.name, self.where, self.within), table

    def arm(self, name: str) -> Recipe:
        """The recipe with an arm's changes made."""
        if name == BASE_ARM:
            return self
        if name not in self.content.arms:
            raise self._error((), f"no arm {name!r}{nearest(name, self.arm_names)}; arms: {', '.join(self.arm_names)}")
        if name not in self._arms:
            self._arms[name] = self.changed(self.content.arms[name], ("arms", name))
        return self._arms[name]

    def changed(self, paths: dict, origin: tuple = ("overrides",)) -> Recipe:
        """The recipe with other values at some paths: `tune`, `tune.tuner`, `tune.objective.info_nce.temperature`,
        `model`, `data.where`. A step set to None is left out. Raises RecipeError where a path matches nothing.
        """
        document = copy.deepcopy({key: self.document[key] for key in _OF_A_RUN if key in self.document})
        for path, value in paths.items():
            try:
                document = with_value(document, path.split("."), copy.deepcopy(value))
            except LookupError as error:
                raise self._error((*origin, path), error.args[0]) from None
        return Recipe(document, self.name, f"{self.where}: {'.'.join(origin)}", self.within)


def _wanted(steps: dict[str, Step]) -> set[str]:
    found: set[str] = set()
    for step in steps.values():
        found |= {name for _, name in references(step.arguments)} | _wanted(step.steps)
    return found


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


def load_recipe(source: str | Path | dict | Recipe, within: tuple[Path, ...] = ()) -> Recipe:
    """A checked recipe from a packaged one's name, a YAML file, or the same as a dict.

    within: files of recipes of which it is a step. Raises RecipeError where it is one of these itself.
    """
    if isinstance(source, Recipe):
        return source
    if isinstance(source, dict):
        recipe = Recipe(source)
    else:
        file = find_recipe(source)
        if file.resolve() in within:
            raise RecipeError(f"{source} is a step of itself: leave it out, or `repeat` its steps")
        try:
            document = parse(file.read_text(encoding="utf-8"))
        except (YamlError, UnicodeDecodeError) as error:
            raise RecipeError(f"{file}: {error}") from None
        inside = file.is_relative_to(FOLDER)
        name = str(file.relative_to(FOLDER).with_suffix("")) if inside else file.stem
        where = f"recipes/{name}.yaml" if inside else str(file)
        recipe = Recipe(document, name, where, (*within, file.resolve()))
    recipe.check()
    return recipe
