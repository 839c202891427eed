"""Questions about a scene, and their answers."""

from __future__ import annotations

from collections import Counter as Tally

from .counter import Counter
from .language import Speaker, speakers
from .lexicon import COLOURS, NUMBERS, POSITIONS, RELATIONS, SHAPES, SIZES, plural
from .scene import Scenes, object_graph

KINDS = ("colour", "shape", "count", "exists", "relation", "position", "size")
ANSWERS = tuple(dict.fromkeys(("yes", "no", *NUMBERS, *COLOURS, *SHAPES, *POSITIONS, *SIZES)))


def questions(scenes: Scenes, draws: Counter, kind: str | None = None) -> tuple[list[str], list[str], list[int]]:
    """One question a row, its answer and its kind (index into KINDS). kind: ask only such.

    What a question is about is named so that exactly one object of the scene fits; where none can be named that
    way, the row asks how many objects there are.
    """
    asked, answered, kinds = [], [], []
    which = draws.integers("question kind", len(KINDS))
    for row, say in enumerate(speakers(draws, "question", "plain")):
        wanted = kind or KINDS[which[row]]
        graph = object_graph(scenes, row)
        found = ask(say, graph, wanted)
        if found is None:
            wanted, found = "count", _count(say, graph)
        asked.append(found[0])
        answered.append(found[1])
        kinds.append(KINDS.index(wanted))
    return asked, answered, kinds


def ask(say: Speaker, graph: dict, kind: str) -> tuple[str, str] | None:
    """A question of this kind and its answer, or None where the scene allows none."""
    objects = graph["objects"]
    if kind == "count":
        return _count(say, graph)
    if kind == "exists":
        return _exists(say, graph)
    if kind == "shape":
        one = _unique(say, objects, ("colour",))
        return one and (f"what shape is the {one['colour']} object?", one["shape"])
    if kind == "colour":
        one = _unique(say, objects, ("shape",))
        return one and (f"what colour is the {say.word(one['shape'])}?", one["colour"])
    if kind == "relation":
        return _relation(say, graph)
    one = _unique(say, objects, ("colour", "shape"))
    if one is None:
        return None
    name = f"the {say.word(one['colour'])} {say.word(one['shape'])}"
    return (f"where is {name}?", one["position"]) if kind == "position" else (f"what size is {name}?", one["size"])


def _unique(say: Speaker, objects: list[dict], keys: tuple[str, ...]) -> dict | None:
    """One of the objects that no other shares these attributes with."""
    held = Tally(tuple(one[key] for key in keys) for one in objects)
    alone = [one for one in objects if held[tuple(one[key] for key in keys)] == 1]
    return say.pick(alone) if alone else None


def _count(say: Speaker, graph: dict) -> tuple[str, str]:
    objects = graph["objects"]
    if say.pick((True, False)):
        return "how many objects are there?", NUMBERS[len(objects)]
    one, key = say.pick(objects), say.pick(("shape", "colour"))
    number = NUMBERS[sum(other[key] == one[key] for other in objects)]
    named = plural(say.word(one["shape"])) if key == "shape" else f"{say.word(one['colour'])} objects"
    return f"how many {named} are there?", number


def _exists(say: Speaker, graph: dict) -> tuple[str, str]:
    """Half of these name what is not there: another colour for a shape that is."""
    one = say.pick(graph["objects"])
    colour = one["colour"] if say.pick((True, False)) else say.pick(COLOURS)
    there = any(o["shape"] == one["shape"] and o["colour"] == colour for o in graph["objects"])
    thing = say.phrase({"shape": one["shape"], "colour": colour})
    return f"is there {thing}?", "yes" if there else "no"


def _relation(say: Speaker, graph: dict) -> tuple[str, str] | None:
    objects = graph["objects"]
    if len(objects) < 2:
        return None
    names = [(one["colour"], one["shape"]) for one in objects]
    if names.count(names[0]) > 1 or names.count(names[1]) > 1:
        return None
    held = graph["relations"][0][1]
    said = held if say.pick((True, False)) else say.pick([one for one in RELATIONS if one != held])
    first, second = (f"the {say.word(one['colour'])} {say.word(one['shape'])}" for one in objects[:2])
    return f"is {first} {say.word(said)} {second}?", "yes" if said == held else "no"
