"""Scenes: which objects there are, how they look and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from .counter import Counter
from .lexicon import COLOURS, GROUNDS, INVERSE, POSITIONS, RELATIONS, SHAPES, SIZES, TEXTURES
from .shapes import extents

ARRANGEMENTS = ("subject", "free", "equal")
_CANDIDATES = 24
_RADII = {"subject": ((0.09, 0.125), (0.15, 0.18), (0.195, 0.23)), "free": ((0.08, 0.1), (0.12, 0.14), (0.17, 0.2))}


@dataclass(frozen=True)
class Make:
    """What scenes are made of. shapes, colours, textures: indices into the lexicon's tuples. objects: least and
    most of them. arrangement: `subject` (object 0 is medium or big, all others small), `free` (any sizes),
    `equal` (all objects alike). rotation: degrees to either side. occlusion: share of scenes whose object 1 stands in
    front of object 0. unlike: no two objects share shape and colour.
    """

    shapes: tuple[int, ...]
    colours: tuple[int, ...]
    textures: tuple[int, ...] = (0,)
    objects: tuple[int, int] = (3, 4)
    arrangement: str = "subject"
    rotation: float = 20.0
    occlusion: float = 0.0


@dataclass(frozen=True)
class Scenes:
    """N scenes of up to M objects; object 0 is the subject, object 1 what it is related to.

    count: (N,) number of objects. shape, colour, size, texture: (N, M) int, indices into the lexicon. x, y (right
    and down), radius: (N, M) float32, in widths of the picture. angle: (N, M) float32, radians. depth: (N, M)
    float32, distance; small is near. ground: (N,) int. hue: (N,) float32 in [0, 1), of the ground.
    """

    count: np.ndarray
    shape: np.ndarray
    colour: np.ndarray
    size: np.ndarray
    texture: np.ndarray
    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    depth: np.ndarray
    ground: np.ndarray
    hue: np.ndarray

    def __len__(self) -> int:
        return len(self.count)

    @property
    def present(self) -> np.ndarray:
        """(N, M) bool."""
        return np.arange(self.shape.shape[1]) < self.count[:, None]

    @property
    def relation(self) -> np.ndarray:
        """(N,) how object 0 stands to object 1, an index into RELATIONS; -1 where there is no second object."""
        found = relation_between(self.x[:, 0], self.y[:, 0], self.x[:, -1], self.y[:, -1])
        if self.shape.shape[1] > 1:
            found = relation_between(self.x[:, 0], self.y[:, 0], self.x[:, 1], self.y[:, 1])
        return np.where(self.count > 1, found, -1)

    @property
    def position(self) -> np.ndarray:
        """(N, M) quadrant of every object, an index into POSITIONS."""
        return 2 * (self.y >= 0.5) + (self.x >= 0.5)

    @property
    def boxes(self) -> np.ndarray:
        """(N, M, 4) left, top, right, bottom of every object, hidden or not, in widths, cut at the picture's edges."""
        centre = np.stack([self.x, self.y, self.x, self.y], axis=-1)
        return np.clip(centre + self.radius[..., None] * extents(self.shape, self.angle), 0, 1)

    def take(self, rows: np.ndarray) -> Scenes:
        return Scenes(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def where(self, mask: np.ndarray, other: Scenes) -> Scenes:
        """These scenes, and the other ones in rows under the mask."""
        chosen = {}
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            chosen[item.name] = np.where(mask.reshape(-1, *[1] * (mine.ndim - 1)), theirs, mine)
        return Scenes(**chosen)

    def with_(self, **changed: np.ndarray) -> Scenes:
        return replace(self, **changed)


def relation_between(x: np.ndarray, y: np.ndarray, x2: np.ndarray, y2: np.ndarray) -> np.ndarray:
    """Index into RELATIONS along the axis on which two places differ most."""
    dx, dy = x - x2, y - y2
    across = abs(dx) >= abs(dy)
    return np.where(across, np.where(dx < 0, 0, 1), np.where(dy < 0, 2, 3))


def draw_scenes(draws: Counter, make: Make, forced: Mapping[str, np.ndarray] | None = None) -> Scenes:
    """One scene a row. forced: factor -> (N,) value of the subject or the scene, in place of what is drawn."""
    forced = dict(forced or {})
    low, high = make.objects
    count = forced.get("count", low + draws.integers("count", high - low + 1))
    shape = np.asarray(make.shapes)[draws.integers("shape", len(make.shapes), high)]
    colour = np.asarray(make.colours)[draws.integers("colour", len(make.colours), high)]
    texture = np.asarray(make.textures)[draws.integers("texture", len(make.textures), high)]
    size = draws.integers("size", len(SIZES), high)
    if make.arrangement == "subject":
        size = np.where(np.arange(high) == 0, 1 + draws.integers("subject size", 2, 1), 0)
    for name, values in (("shape", shape), ("colour", colour), ("texture", texture), ("size", size)):
        if name in forced:
            values[:, 0] = forced[name]
    if make.arrangement == "equal":
        shape, colour, texture = (np.repeat(one[:, :1], high, axis=1) for one in (shape, colour, texture))
        size = np.zeros_like(size)
    else:
        shape, colour = _unlike(shape, colour, make)
    radii = np.array(_RADII["subject" if make.arrangement == "subject" else "free"])[size]
    radius = draws.between("radius", radii[..., 0], radii[..., 1], high)
    x, y = _place(draws, radius, forced, make)
    angle = np.deg2rad(make.rotation) * (2 * draws.uniform("angle", high) - 1)
    depth = np.clip(0.4 / radius * draws.between("depth", 0.85, 1.15, high), 1, 5)
    if make.occlusion and high > 1:
        depth[:, 1] = np.where(draws.chance("occlusion", make.occlusion), 0.9 * depth[:, 0], depth[:, 1])
    return Scenes(
        count, shape, colour, size, texture, *(one.astype(np.float32) for one in (x, y, radius, angle, depth)),
        ground=forced.get("ground", draws.integers("ground", len(GROUNDS))),
        hue=draws.uniform("hue").astype(np.float32),
    )  # fmt: skip


def _unlike(shape: np.ndarray, colour: np.ndarray, make: Make) -> tuple[np.ndarray, np.ndarray]:
    """No object has both shape and colour of an earlier one: the next colour, then the next shape, is taken."""
    shapes, colours = np.asarray(make.shapes), np.asarray(make.colours)
    if len(shapes) * len(colours) < shape.shape[1]:
        return shape, colour
    s, c = np.searchsorted(np.sort(shapes), shape), np.searchsorted(np.sort(colours), colour)
    key = s * len(colours) + c
    for m in range(1, key.shape[1]):
        for _ in range(m):
            same = (key[:, :m] == key[:, m : m + 1]).any(axis=1)
            key[:, m] = np.where(same, (key[:, m] + 1) % (len(shapes) * len(colours)), key[:, m])
    return np.sort(shapes)[key // len(colours)], np.sort(colours)[key % len(colours)]


def _place(draws: Counter, radius: np.ndarray, forced: Mapping, make: Make):
    """Centres without overlap where there is room. The subject's quadrant and its relation to object 1 are drawn
    first, so that each is equally frequent; object 1 is put where the relation holds.
    """
    n, high = radius.shape
    position = forced.get("position", draws.integers("position", len(POSITIONS)))
    right, low = position % 2, position // 2
    relation = np.where(draws.chance("axis", 0.5), right, 2 + low)
    if "relation" in forced:
        relation = forced["relation"]
        right = np.where(relation < 2, relation, right)
        low = np.where(relation >= 2, relation - 2, low)
    x, y = np.empty((n, high)), np.empty((n, high))
    for values, side, name in ((x, right, "x"), (y, low, "y")):
        near, far = radius[:, 0] * 0.95, 0.48
        away = draws.between(f"subject {name}", np.minimum(near, far - 0.03), far)
        values[:, 0] = np.where(side, 1 - away, away)
    apart = 1.0 if make.arrangement != "equal" else 0.9
    for m in range(1, high):
        edge = np.minimum(radius[:, m : m + 1], 0.3)
        spots = draws.between(f"place {m}", edge[..., None], 1 - edge[..., None], _CANDIDATES, 2)
        gap = np.hypot(spots[:, :, None, 0] - x[:, None, :m], spots[:, :, None, 1] - y[:, None, :m])
        gap = (gap - apart * (radius[:, None, :m] + radius[:, m, None, None])).min(axis=2)
        room = np.minimum(gap, 0.02)
        if m == 1:
            held = relation_between(x[:, :1], y[:, :1], spots[..., 0], spots[..., 1]) == relation[:, None]
            room = room + np.where(held, 0.05, 0)
            if make.occlusion:
                touching = 0.3 - abs(gap + radius[:, 1, None])
                room = np.where(draws.chance("occlusion", make.occlusion)[:, None], touching, room)
        chosen = room.argmax(axis=1)
        x[:, m], y[:, m] = spots[np.arange(n), chosen, 0], spots[np.arange(n), chosen, 1]
    return x, y


def object_graph(scenes: Scenes, row: int) -> dict:
    """The scene graph of one row: `objects` (shape, colour, size, texture, position, x, y, radius), `relations` as
    [i, name, j] for i < j (the inverse holds too), `ground`.
    """
    objects = []
    for m in range(int(scenes.count[row])):
        x, y = float(scenes.x[row, m]), float(scenes.y[row, m])
        objects.append(
            {
                "shape": SHAPES[scenes.shape[row, m]],
                "colour": COLOURS[scenes.colour[row, m]],
                "size": SIZES[scenes.size[row, m]],
                "texture": TEXTURES[scenes.texture[row, m]],
                "position": POSITIONS[2 * (y >= 0.5) + (x >= 0.5)],
                "x": round(x, 3),
                "y": round(y, 3),
                "radius": round(float(scenes.radius[row, m]), 3),
            }
        )
    relations = []
    for i, one in enumerate(objects):
        for j in range(i + 1, len(objects)):
            other = objects[j]
            held = int(relation_between(*(np.float64(v) for v in (one["x"], one["y"], other["x"], other["y"]))))
            relations.append([i, RELATIONS[held], j])
    return {"objects": objects, "relations": relations, "ground": GROUNDS[scenes.ground[row]]}


def inverse(relation: str) -> str:
    """`left of` -> `right of`."""
    return RELATIONS[INVERSE[RELATIONS.index(relation)]]
