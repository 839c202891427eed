"""Captions from scenes, and back: what is said of a picture, in one grammar."""

from __future__ import annotations

from collections.abc import Sequence

from .counter import Counter
from .lexicon import (
    CANONICAL,
    COLOURS,
    GROUNDS,
    NUMBERS,
    POSITIONS,
    SHAPES,
    SINGULAR,
    SIZES,
    SYNONYMS,
    TEXTURES,
    plural,
    tokens,
)  # fmt: skip
from .scene import inverse

ASPECTS = ("colour", "shape", "size", "texture", "position", "relation", "ground")
_KIND = {
    **dict.fromkeys(SHAPES, "shape"),
    **dict.fromkeys(COLOURS, "colour"),
    **dict.fromkeys(SIZES, "size"),
    **dict.fromkeys(TEXTURES, "texture"),
}


class Speaker:
    """Says graphs in words. choices: a row's uniform draws, used one after the other.

    wording: `canonical` (an attribute's own name, always), `plain` (a synonym in one of ten places), `mixed` (in three
    of ten), `synonyms` (always, where there is one).
    """

    def __init__(self, choices: Sequence[float], wording: str = "mixed"):
        self._choices, self._at = choices, 0
        self._share = {"canonical": 0.0, "plain": 0.1, "mixed": 0.3, "synonyms": 1.0}[wording]

    def _draw(self) -> float:
        value = self._choices[self._at % len(self._choices)]
        self._at += 1
        return float(value)

    def pick(self, options: Sequence):
        return options[int(self._draw() * len(options))]

    def word(self, name: str) -> str:
        if self._draw() >= self._share or name not in SYNONYMS:
            return name
        return self.pick(SYNONYMS[name])

    def noun(self, one: dict, *, size: float = 0.5, many: bool = False) -> str:
        """`small striped red circle`. size: how often the size is said."""
        said = [self.word(one["size"])] if one.get("size") and self._draw() < size else []
        said += [self.word(one["texture"])] if one.get("texture", "plain") != "plain" else []
        said += [self.word(one["colour"])] if one.get("colour") else []
        shape = self.word(one["shape"])
        return " ".join([*said, plural(shape) if many else shape])

    def phrase(self, one: dict, *, size: float = 0.5) -> str:
        """`a small red circle`."""
        noun = self.noun(one, size=size)
        return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"

    def caption(self, graph: dict) -> str:
        """One sentence on objects 0 and 1 and how they stand."""
        objects = graph["objects"]
        if alike(objects):
            return f"{self.pick(('', 'there are ', 'a picture of '))}{NUMBERS[len(objects)]} {self._all(objects)}"
        subject = self.phrase(objects[0])
        opening = self.pick(("", "", "there is ", "a picture of "))
        if len(objects) == 1:
            place = self.pick(("", f" in the {objects[0]['position']}"))
            return f"{opening}{subject}{place}"
        relation, other = graph["relations"][0][1], self.phrase(objects[1])
        if self._draw() < 0.25:
            return f"{opening}{other} {self.word(inverse(relation))} {subject}"
        return f"{opening}{subject} {self.word(relation)} {other}"

    def paraphrase(self, graph: dict) -> str:
        """The same facts from the other end."""
        objects = graph["objects"]
        if alike(objects):
            return f"the scene shows {NUMBERS[len(objects)]} {self._all(objects)}"
        if len(objects) == 1:
            return f"the scene shows {self.phrase(objects[0], size=1)}"
        relation = self.word(inverse(graph["relations"][0][1]))
        return f"the scene shows {self.phrase(objects[1], size=1)} {relation} {self.phrase(objects[0], size=1)}"

    def report(self, graph: dict) -> str:
        """Sentences on everything: how many objects, how the first stands, where the others are, the ground."""
        objects = graph["objects"]
        count = NUMBERS[len(objects)]
        if alike(objects):
            return f"there are {count} {self._all(objects)}. the ground is {graph['ground']}."
        said = [f"there are {count} objects" if len(objects) > 1 else "there is one object"]
        first = self.phrase(objects[0], size=1)
        if len(objects) > 1:
            relation = self.word(graph["relations"][0][1])
            said.append(f"{first} is {relation} {self.phrase(objects[1], size=1)}")
        else:
            said.append(f"{first} is in the {objects[0]['position']}")
        said += [f"{self.phrase(one, size=1)} is in the {one['position']}" for one in objects[2:]]
        return ". ".join([*said, f"the ground is {graph['ground']}"]) + "."

    def _all(self, objects: Sequence[dict]) -> str:
        return self.noun(objects[0], size=0, many=len(objects) > 1)


def alike(objects: Sequence[dict]) -> bool:
    """More than one object, all of one kind."""
    kinds = {(one["shape"], one["colour"], one["texture"]) for one in objects}
    return len(objects) > 1 and len(kinds) == 1


def speakers(draws: Counter, name: str, wording: str) -> list[Speaker]:
    """One for each row."""
    return [Speaker(row, wording) for row in draws.uniform(name, 40)]


def parse(caption: str) -> dict:
    """What a text in `world`'s English claims.

    Returns `objects`, each with the attributes said of it (shape, colour, size, texture, position); `relations`,
    [i, name, j]; `count` and `ground` where they are said; `unknown`, the words that mean nothing here.
    Synonyms are given by their canonical names. "four red circles" is four objects.
    """
    found: dict = {"objects": [], "relations": [], "unknown": []}
    words = tokens(caption)
    attributes: dict = {}
    pending, number, last, at = None, None, None, 0
    while at < len(words):
        word = CANONICAL.get(words[at], words[at])
        pair = f"{words[at]} {words[at + 1]}" if at + 1 < len(words) else ""
        at += 1
        if word in NUMBERS:
            number = NUMBERS.index(word)
        elif pair in ("left of", "right of") or word in ("above", "below"):
            pending, at = pair if pair in ("left of", "right of") else word, at + (pair in ("left of", "right of"))
        elif pair in POSITIONS and last is not None:
            found["objects"][last]["position"] = pair
            at += 1
        elif word in GROUNDS and "ground" in words:
            found["ground"] = word
        elif word in ("object", "objects") and number is not None:
            found["count"], number = number, None
        elif word in SINGULAR or word in SHAPES:
            shape = SINGULAR.get(word, word)
            one = {"shape": CANONICAL.get(shape, shape), **attributes}
            many = number if word in SINGULAR and number is not None else 1
            if word in SINGULAR and number is not None:
                found["count"] = number
            found["objects"] += [dict(one) for _ in range(many)]
            new = len(found["objects"]) - 1
            if pending is not None and last is not None and many:
                found["relations"].append([last, pending, new])
            attributes, pending, number, last = {}, None, None, new if many else last
        elif word in _KIND:
            attributes[_KIND[word]] = word
        elif word == ".":
            last, pending, attributes = None, None, {}
        elif word not in _SILENT:
            found["unknown"].append(word)
    return found


_SILENT = frozenset("a an the there is are picture of shows scene to in ground and , with".split())


def class_names(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All combinations, as words: the first part slowest."""
    names = [""]
    for part in parts:
        names = [f"{name} {word}".strip() for name in names for word in part]
    return tuple(names)


def describe(say: Speaker, graph: dict, aspect: str) -> str:
    """One sentence on one of ASPECTS of object 0."""
    one = graph["objects"][0]
    match aspect:
        case "colour":
            return say.pick(("the colour is {}", "it is {}")).format(say.word(one["colour"]))
        case "shape":
            return say.pick(("the shape is {}", "it is {}")).format(say.phrase({"shape": one["shape"]}))
        case "size":
            return say.pick(("the size is {}", "it is {}")).format(say.word(one["size"]))
        case "texture":
            return f"the texture is {say.word(one['texture'])}"
        case "position":
            return f"it is in the {one['position']}"
        case "ground":
            return f"the ground is {graph['ground']}"
    if not graph["relations"]:
        return "there is one object"
    return f"it is {say.word(graph['relations'][0][1])} {say.phrase(graph['objects'][1])}"
