"""Instructions to edit a scene, some of which cannot be followed, and calls of tools."""

from __future__ import annotations

import itertools
from collections import Counter as Tally
from dataclasses import fields

import numpy as np

from .counter import Counter
from .language import Speaker, speakers
from .lexicon import COLOURS, NUMBERS, SHAPES
from .scene import Make, Scenes, object_graph

EDITS = ("recolour", "remove", "move")
_FAR = 0.3


class Edits:
    """One instruction a row. texts: N strings. feasible: (N,) bool; it is not where the object named is absent.
    after: the scenes when the instruction was followed; those that cannot be followed stay as they are.
    """

    def __init__(self, scenes: Scenes, draws: Counter, make: Make, infeasible: float):
        self.feasible = ~draws.chance("infeasible", infeasible)
        kinds = draws.integers("edit", len(EDITS))
        self.texts: list[str] = []
        after = scenes.take(np.arange(len(scenes)))
        for row, say in enumerate(speakers(draws, "instruction", "plain")):
            objects = object_graph(scenes, row)["objects"]
            names = Tally((one["colour"], one["shape"]) for one in objects)
            alone = [m for m, one in enumerate(objects) if names[one["colour"], one["shape"]] == 1]
            if not alone:
                self.feasible[row] = False
            kind = EDITS[kinds[row]]
            if kind == "remove" and len(objects) == 1:
                kind = "recolour"
            m = say.pick(alone) if self.feasible[row] else None
            one = objects[m] if m is not None else _absent(say, names, make)
            named = f"the {say.word(one['colour'])} {say.word(one['shape'])}"
            self.texts.append(self._say(say, kind, named, one, after, row, m, make))
        self.after = after

    def _say(self, say: Speaker, kind: str, named: str, one: dict, after: Scenes, row: int, m, make: Make) -> str:
        if kind == "remove":
            if m is not None:
                _remove(after, row, m)
            return f"remove {named}"
        if kind == "recolour":
            others = [c for c in make.colours if COLOURS[c] != one["colour"]] or list(make.colours)
            colour = say.pick(others)
            if m is not None:
                after.colour[row, m] = colour
            return f"make {named} {say.word(COLOURS[colour])}"
        side = say.pick(("left", "right", "up", "down"))
        if m is not None:
            axis, step = (after.x, -_FAR if side == "left" else _FAR)
            if side in ("up", "down"):
                axis, step = (after.y, -_FAR if side == "up" else _FAR)
            axis[row, m] = np.clip(axis[row, m] + step, 0.1, 0.9)
        return f"move {named} {side}"


def _absent(say: Speaker, names: Tally, make: Make) -> dict:
    """A shape and colour that no object of the scene has."""
    everything = itertools.product(range(len(COLOURS)), range(len(SHAPES)))
    free = [(c, s) for c, s in everything if (COLOURS[c], SHAPES[s]) not in names]
    colour, shape = say.pick([(c, s) for c, s in free if c in make.colours and s in make.shapes] or free)
    return {"colour": COLOURS[colour], "shape": SHAPES[shape]}


def _remove(scenes: Scenes, row: int, m: int) -> None:
    for item in fields(Scenes):
        values = getattr(scenes, item.name)
        if values.ndim == 2:
            values[row, m:] = np.append(values[row, m + 1 :], values[row, m])
    scenes.count[row] -= 1


def calls(scenes: Scenes, draws: Counter) -> tuple[list[str], list[str], list[str]]:
    """Requests in words, the calls of a tool that answer them, and the tools' answers.

    `count the red objects` is `count ( colour = red )`, which gives `two`; also `exists ( ... )` and, with one or two
    arguments, `find ( ... )`, which gives the place of the one object that fits.
    """
    asked, called, answered = [], [], []
    for row, say in enumerate(speakers(draws, "call", "plain")):
        objects = object_graph(scenes, row)["objects"]
        one, tool = say.pick(objects), say.pick(("count", "exists", "find"))
        keys = say.pick((("colour",), ("shape",), ("colour", "shape")))
        if tool == "exists" and say.pick((True, False)):
            one = {**one, "colour": say.pick(COLOURS)}
        fits = [other for other in objects if all(other[key] == one[key] for key in keys)]
        if tool == "find" and len(fits) > 1:
            tool = "count"
        noun = " ".join(say.word(one[key]) for key in keys) + (" object" if "shape" not in keys else "")
        written = " , ".join(f"{key} = {one[key]}" for key in keys)
        asked.append(f"{tool} the {noun}")
        called.append(f"{tool} ( {written} )")
        if tool == "count":
            answered.append(NUMBERS[len(fits)])
        elif tool == "exists":
            answered.append("yes" if fits else "no")
        else:
            answered.append(fits[0]["position"])
    return asked, called, answered
