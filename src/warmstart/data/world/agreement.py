"""How far a text is true of a scene: exact rewards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping

from .language import parse
from .scene import inverse


def agreement(caption: str, graph: str | Mapping) -> float:
    """Share of a caption's claims that hold, in [0, 1]; 0 where it says nothing of any object.

    A claim is each attribute said of an object, each relation, the count and the ground. Objects of the caption are
    matched to those of the scene, one to one, so that most claims hold. A word outside the language is a false
    claim. caption: text in `world`'s English. graph: the role `graph`, or what `json.loads` makes of it.
    """
    said, scene = parse(caption), _read(graph)
    claims = sum(len(one) for one in said["objects"]) + len(said["relations"]) + len(said["unknown"])
    claims += ("count" in said) + ("ground" in said)
    if not said["objects"] or not claims:
        return 0.0
    held = _best(said, scene)
    held += said.get("count") == len(scene["objects"]) if "count" in said else 0
    held += said.get("ground") == scene["ground"] if "ground" in said else 0
    return held / claims


def coverage(caption: str, graph: str | Mapping) -> float:
    """Share of the scene's objects that the caption names with their shape, and colour where it gives one."""
    scene = _read(graph)["objects"]
    left = list(parse(caption)["objects"])
    named = 0
    for one in scene:
        match = next((said for said in left if _is(said, one)), None)
        if match is not None:
            left.remove(match)
            named += 1
    return named / len(scene)


def hallucinated(caption: str, graph: str | Mapping) -> float:
    """Share of the objects a caption names that are not there (the instance rate CHAIR, Rohrbach et al. 2018)."""
    scene, said = list(_read(graph)["objects"]), parse(caption)["objects"]
    absent = 0
    for one in said:
        match = next((there for there in scene if _is(one, there)), None)
        if match is None:
            absent += 1
        else:
            scene.remove(match)
    return absent / len(said) if said else 0.0


def _is(said: Mapping, there: Mapping) -> bool:
    return all(said.get(key, there[key]) == there[key] for key in ("shape", "colour"))


def _read(graph: str | Mapping) -> Mapping:
    return json.loads(graph) if isinstance(graph, str) else graph


def _best(said: Mapping, scene: Mapping) -> int:
    """Most claims that hold under any matching; objects beyond those of the scene match nothing."""
    objects, there = said["objects"], scene["objects"]
    if len(objects) > 5 or len(there) > 6:
        return _greedy(said, scene)
    places = [*range(len(there)), *[None] * max(0, len(objects) - len(there))]
    return max(_held(said, scene, match) for match in set(itertools.permutations(places, len(objects))))


def _greedy(said: Mapping, scene: Mapping) -> int:
    left, match = list(range(len(scene["objects"]))), []
    for one in said["objects"]:
        best = max(left, key=lambda k: _same(one, scene["objects"][k]), default=None)
        match.append(best)
        if best is not None:
            left.remove(best)
    return _held(said, scene, match)


def _same(one: Mapping, there: Mapping) -> int:
    return sum(there[key] == value for key, value in one.items())


def _held(said: Mapping, scene: Mapping, match) -> int:
    held = sum(_same(one, scene["objects"][k]) for one, k in zip(said["objects"], match, strict=True) if k is not None)
    facts = {(i, name, j) for i, name, j in scene["relations"]}
    facts |= {(j, inverse(name), i) for i, name, j in scene["relations"]}
    return held + sum((match[i], name, match[j]) in facts for i, name, j in said["relations"])
