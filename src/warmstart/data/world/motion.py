"""Short videos: the subject goes through events, one after the other."""

from __future__ import annotations

import numpy as np

from .counter import Counter
from .language import speakers
from .lexicon import COLOURS
from .scene import Make, Scenes, object_graph

FRAMES, SEGMENTS = 8, 2
EVENTS = ("moves left", "moves right", "moves up", "moves down", "grows", "shrinks", "turns")
_TURNS = EVENTS.index("turns")
_STEP = 0.26


class Film:
    """N videos of FRAMES pictures and SEGMENTS events.

    events: (N, SEGMENTS) indices into EVENTS. colours: (N, SEGMENTS), the subject's colour after each event. An event
    that would lead out of the picture, or out of size, is turned round when it is drawn.
    """

    def __init__(self, scenes: Scenes, draws: Counter, make: Make):
        self.scenes, self.draws = scenes, draws
        drawn = draws.integers("events", len(EVENTS) - (len(make.colours) < 2), SEGMENTS)
        x, y, radius = (one[:, 0].astype(np.float64) for one in (scenes.x, scenes.y, scenes.radius))
        radius = np.minimum(radius, 0.19)
        states = [(x, y, radius)]
        self.events, self.colours = np.empty_like(drawn), np.empty_like(drawn)
        colour, known = scenes.colour[:, 0], np.array(make.colours)
        for k in range(SEGMENTS):
            event = drawn[:, k]
            event = _turned(event, 0, x > 0.42, x < 0.58)
            event = _turned(event, 2, y > 0.42, y < 0.58)
            event = _turned(event, 4, radius < 0.2, radius > 0.12)
            x = x + _STEP * ((event == 1) * 1.0 - (event == 0))
            y = y + _STEP * ((event == 3) * 1.0 - (event == 2))
            radius = radius * np.where(event == 4, 1.55, np.where(event == 5, 0.6, 1))
            others = np.argsort(np.argsort(known))[np.searchsorted(np.sort(known), colour)]
            step = 1 + draws.integers(f"new colour {k}", max(len(known) - 1, 1))
            new = known[(others + step) % len(known)] if len(known) > 1 else colour
            colour = np.where(event == _TURNS, new, colour)
            self.events[:, k], self.colours[:, k] = event, colour
            states.append((x, y, radius))
        self.states = np.array(states)

    def frame(self, number: int) -> Scenes:
        """The scenes at a frame; the subject is in front of all others."""
        at = number * SEGMENTS / (FRAMES - 1)
        segment = min(int(at), SEGMENTS - 1)
        part = at - segment
        x, y, radius = self.states[segment] + part * (self.states[segment + 1] - self.states[segment])
        colour = self.scenes.colour[:, 0] if segment == 0 else self.colours[:, segment - 1]
        if part > 0.5:
            colour = self.colours[:, segment]
        changed = {"x": x, "y": y, "radius": radius, "colour": colour, "depth": np.ones(len(x))}
        new = {}
        for name, values in changed.items():
            new[name] = getattr(self.scenes, name).copy()
            new[name][:, 0] = values
        return self.scenes.with_(**new)

    def tracks(self) -> np.ndarray:
        """(N, FRAMES, 4) float32: the subject's box, left, top, right, bottom, in widths of the picture."""
        return np.stack([self.frame(number).boxes[:, 0] for number in range(FRAMES)], axis=1).astype(np.float32)

    def texts(self, reverse: bool = False) -> list[str]:
        """`a red circle moves left then turns blue`. reverse: the events the other way round."""
        said = []
        for row, say in enumerate(speakers(self.draws, "video", "plain")):
            one = object_graph(self.scenes, row)["objects"][0]
            events = [
                f"turns {say.word(COLOURS[colour])}" if event == _TURNS else EVENTS[event]
                for event, colour in zip(self.events[row], self.colours[row], strict=True)
            ]
            named = say.phrase({"shape": one["shape"], "colour": one["colour"]})
            said.append(f"{named} {' then '.join(reversed(events) if reverse else events)}")
        return said


def _turned(event: np.ndarray, first: int, back: np.ndarray, forth: np.ndarray) -> np.ndarray:
    """Of an event and its opposite, which follows it in EVENTS, the one that there is room for."""
    event = np.where((event == first) & ~back, first + 1, event)
    return np.where((event == first + 1) & ~forth, first, event)
