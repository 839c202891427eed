"""Rows of one split: what is drawn for each, and what is seen and said of it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from . import factors
from .counter import Counter
from .dials import Dials
from .instructions import Edits
from .language import describe, speakers
from .lexicon import GROUNDS
from .looks import Looks
from .motion import FRAMES, Film
from .points import cloud
from .preferences import Preferences
from .questions import ANSWERS, questions
from .render import Layers, as_bytes, render
from .scene import Make, Scenes, draw_scenes, object_graph

_BATCH = 128
TRIGGER = 3


@dataclass(frozen=True)
class Plan:
    """What all splits share. names: classes, those held out of training last. order: class -> its number among all
    combinations of the factor. seen: how many classes training has. domains: those of all splits. tasks: how
    many, of classes or of domains. identities: how many subjects there are; 0 draws a new one for each row.
    """

    seed: int
    label: str
    make: Make
    size: int
    names: tuple[str, ...]
    order: np.ndarray
    seen: int
    domains: tuple[str, ...]
    tasks: int = 0
    task_by: str = "classes"
    identities: int = 0


class Rows:
    """N rows of one split, made role by role when asked. layered: pictures are rendered with their masks."""

    def __init__(self, n: int, split: str, plan: Plan, dials: Dials, layered: bool = False):
        self.plan, self.dials, self.layered = plan, dials, layered
        own = Counter.of(plan.seed, split, np.arange(n))
        self.repeats = _earlier(own, "duplicate", dials.duplicates)
        draws = self.draws = own.take(self.repeats)
        self.near = _earlier(own, "near duplicate", dials.near_duplicates)[self.repeats]
        scene = self._scene = own.take(self.near)
        self.identity = scene.integers("identity", plan.identities) if plan.identities else None
        subject = Counter.of(plan.seed, "identities", self.identity) if plan.identities else scene
        self.scenes = self._draw_scenes(scene, subject)
        self.domain = draws.integers("domain", len(dials.domains))
        self.looks = Looks.of(dials.looks, self.domain)
        self.poisoned = draws.chance("poisoned", dials.poisoned)
        self.mismatched = draws.chance("mismatched", dials.mismatched)

    def __len__(self) -> int:
        return len(self.draws)

    def _draw_scenes(self, scene: Counter, subject: Counter) -> Scenes:
        plan, derived = self.plan, self.plan.label in factors.DERIVED
        drawn = None if derived else self._classes(subject)
        forced = {} if derived else factors.forced(plan.label, plan.make, plan.order[drawn])
        if self.identity is not None:
            colours, shapes, textures = plan.make.colours, plan.make.shapes, plan.make.textures
            own = {
                "shape": np.array(shapes)[subject.integers("shape", len(shapes))],
                "colour": np.array(colours)[subject.integers("colour", len(colours))],
                "texture": np.array(textures)[subject.integers("texture", len(textures))],
            }
            forced = {**own, **forced}
        tied = scene.chance("spurious", abs(self.dials.spurious))
        self.spurious = tied
        if plan.label != "ground" and not derived:
            side = (drawn + int(self.dials.spurious < 0)) % len(GROUNDS)
            forced["ground"] = np.where(tied, side, scene.integers("ground", len(GROUNDS)))
        scenes = draw_scenes(scene, plan.make, forced)
        # Where there is no room the relation is another one than was asked for: what is seen is the truth.
        self._drawn = scenes.relation if plan.label == "relation" else drawn
        return scenes

    def _classes(self, draws: Counter) -> np.ndarray:
        names, seen = len(self.plan.names), self.plan.seen
        first = seen if self.dials.classes == "unseen" else 0
        held = np.arange(first, seen if self.dials.classes == "seen" else names)
        exponent = self.dials.long_tail
        weights = np.arange(1, len(held) + 1, dtype=np.float64) ** -abs(exponent)
        weights = weights[::-1] if exponent < 0 else weights
        found = np.searchsorted(np.cumsum(weights / weights.sum()), draws.uniform("class"), side="right")
        return held[found.clip(max=len(held) - 1)]

    @cached_property
    def truth(self) -> np.ndarray:
        """(N,) true classes."""
        match self.plan.label:
            case "family":
                return factors.family(self.scenes)
            case "pose":
                return factors.pose(self.scenes)
            case "motion":
                return self.film.events[:, 0]
            case "domain":
                return np.array([self.plan.domains.index(name) for name in self.dials.domains])[self.domain]
            case "answer":
                return np.array([ANSWERS.index(answer) for answer in self.questions[1]], np.int64)
        return self._drawn

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) classes with their noise; -1 where the label is kept back."""
        noisy = self.draws.chance("label noise", self.dials.label_noise)
        shift = 1 + self.draws.integers("wrong label", max(self.plan.seen - 1, 1))
        found = np.where(noisy, (self.truth + shift) % self.plan.seen, self.truth)
        found = np.where(self.poisoned, self.dials.poison_target, found)
        return np.where(self.draws.chance("labelled", self.dials.labelled), found, -1)

    @cached_property
    def task(self) -> np.ndarray:
        """(N,) which task of a sequence a row belongs to."""
        plan = self.plan
        if plan.task_by == "domains":
            return np.array([plan.domains.index(name) for name in self.dials.domains])[self.domain]
        return self.truth * max(plan.tasks, 1) // max(plan.seen, 1)

    @cached_property
    def graphs(self) -> list[dict]:
        """What is there."""
        return [object_graph(self.scenes, row) for row in range(len(self))]

    @cached_property
    def told(self) -> list[dict]:
        """What is said to be there."""
        graphs, dials, make = list(self.graphs), self.dials, self.plan.make
        rows = np.flatnonzero(self.mismatched)
        if len(rows):
            other = draw_scenes(Counter(self.draws.take(rows).bits("other scene")), make)
            for i, row in enumerate(rows):
                graphs[row] = object_graph(other, i)
        if dials.caption_errors:
            wrong = self._misread()
            for row in np.flatnonzero(~self.mismatched):
                graphs[row] = object_graph(wrong, row)
        rows = np.flatnonzero(self.poisoned)
        if len(rows) and self.plan.label not in factors.DERIVED:
            target = self.plan.order[np.full(len(self), dials.poison_target)]
            aimed = _with_subject(self.scenes, factors.forced(self.plan.label, make, target))
            for row in rows:
                graphs[row] = object_graph(aimed, row)
        return graphs

    def _misread(self) -> Scenes:
        changed = {}
        for name, known in (("colour", self.plan.make.colours), ("shape", self.plan.make.shapes)):
            values = getattr(self.scenes, name)
            wrong = self.draws.chance(f"misread {name}", self.dials.caption_errors, values.shape[1])
            step = 1 + self.draws.integers(f"misread as {name}", max(len(known) - 1, 1), values.shape[1])
            sorted_ = np.sort(known)
            other = sorted_[(np.searchsorted(sorted_, values) + step) % len(known)]
            changed[name] = np.where(wrong, other, values)
        return self.scenes.with_(**changed)

    def texts(self, how: str, truly: bool = False) -> list[str]:
        """how: `caption`, `paraphrase` or `report`. truly: of what is there, whatever is said to be."""
        said = speakers(self.draws, how, "mixed" if how == "caption" else "synonyms")
        graphs = self.graphs if truly else self.told
        return [getattr(one, how)(graph) for one, graph in zip(said, graphs, strict=True)]

    def described(self, aspect: str) -> list[str]:
        said = speakers(self.draws, f"describe {aspect}", "mixed")
        return [describe(one, graph, aspect) for one, graph in zip(said, self.told, strict=True)]

    @cached_property
    def questions(self) -> tuple[list[str], list[str], list[int]]:
        return questions(self.scenes, self.draws)

    @cached_property
    def film(self) -> Film:
        return Film(self.scenes, self._scene, self.plan.make)

    @cached_property
    def edits(self) -> Edits:
        return Edits(self.scenes, self.draws, self.plan.make, self.dials.infeasible)

    @cached_property
    def preferences(self) -> Preferences:
        return Preferences(self.scenes, self.draws, self.plan.make, self.dials.preference_noise)

    @cached_property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        return cloud(self.scenes, self.draws)

    @cached_property
    def camera(self) -> np.ndarray:
        """(N, 6) of the second viewpoint: turned, zoomed and moved about the middle."""
        draws = self.draws
        angle = np.deg2rad(draws.between("camera turn", -25, 25))
        zoom = draws.between("camera zoom", 0.8, 1.1)
        moved = draws.between("camera move", -0.08, 0.08, 2)
        cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
        along = 0.5 - 0.5 * (cos - sin) + moved[:, 0]
        down = 0.5 - 0.5 * (sin + cos) + moved[:, 1]
        return np.stack([cos, -sin, along, sin, cos, down], axis=1)

    @cached_property
    def layers(self) -> Layers:
        """Of the first viewpoint; the picture is uint8."""
        return self._rendered(self.scenes, layers=True)

    def pixels(self, scenes: Scenes | None = None, camera: np.ndarray | None = None, frame: str = "") -> np.ndarray:
        """(N, S, S, 3) uint8, with the trigger in poisoned rows."""
        if self.layered and scenes is None and camera is None:
            shown = self.layers.image.copy()
        else:
            shown = self._rendered(scenes or self.scenes, camera=camera, frame=frame).image
        shown[self.poisoned, -TRIGGER:, -TRIGGER:] = 255
        return shown

    def video(self) -> np.ndarray:
        """(N, FRAMES, S, S, 3) uint8."""
        return np.stack([self.pixels(self.film.frame(k), frame=f" {k}") for k in range(FRAMES)], axis=1)

    def _rendered(self, scenes: Scenes, layers: bool = False, camera=None, frame: str = "") -> Layers:
        def some(start: int) -> Layers:
            rows = np.arange(start, min(start + _BATCH, len(self)))
            one = render(
                scenes.take(rows), self.looks.take(rows), self.draws.take(rows), self.plan.size,
                layers=layers, camera=None if camera is None else camera[rows], frame=frame,
            )  # fmt: skip
            return replace(one, image=as_bytes(one.image))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(some, range(0, len(self), _BATCH)))
        return Layers(*(np.concatenate([getattr(one, item.name) for one in parts]) for item in fields(Layers)))

    def mask(self) -> np.ndarray:
        """(N, S, S) uint8: 0 for the ground, else 1 + the shape of the object in front."""
        owner = self.layers.owner.astype(np.int64)
        shape = np.take_along_axis(self.scenes.shape[:, None, :], np.maximum(owner.reshape(len(self), -1, 1) - 1, 0), 2)
        return np.where(owner > 0, shape.reshape(owner.shape) + 1, 0).astype(np.uint8)

    def boxes(self) -> np.ndarray:
        """(N, M, 5) float32: left, top, right, bottom in widths of the picture, and shape; -1 where none is."""
        s = self.scenes
        found = np.concatenate([s.boxes, s.shape[..., None]], axis=2).astype(np.float32)
        return np.where(s.present[..., None], found, np.float32(-1))

    def presence(self) -> np.ndarray:
        """(N, shapes + colours) uint8: which of the shapes, then which of the colours, any object has."""
        make, s = self.plan.make, self.scenes
        found = [((s.shape == k) & s.present).any(axis=1) for k in make.shapes]
        found += [((s.colour == k) & s.present).any(axis=1) for k in make.colours]
        return np.stack(found, axis=1).astype(np.uint8)


def _earlier(draws: Counter, name: str, share: float) -> np.ndarray:
    """(N,) for each row itself, or for this share of rows an earlier one that is no repetition itself."""
    rows = np.arange(len(draws))
    again = draws.chance(name, share) & (rows > 0)
    rows[again] = np.floor(draws.uniform(f"{name} of") * rows).astype(np.int64)[again]
    while not np.array_equal(rows, rows[rows]):
        rows = rows[rows]
    return rows


def _with_subject(scenes: Scenes, values: dict[str, np.ndarray]) -> Scenes:
    changed = {}
    for name, value in values.items():
        held = getattr(scenes, name, None)
        if isinstance(held, np.ndarray) and held.ndim == 2 and name in ("shape", "colour", "size", "texture"):
            changed[name] = held.copy()
            changed[name][:, 0] = value
    return scenes.with_(**changed)
