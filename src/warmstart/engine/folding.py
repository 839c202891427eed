"""What several tuners added to a model, written into plain weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..models import Model, ModelError


class Folding(Protocol):
    """What is asked of a tuner."""

    name: str
    folds: bool

    def fold(self, model: Model) -> None: ...


def fold_all(model: Model, tuners: Sequence[Folding]) -> list[str]:
    """Fold the tuners of a model, in the order in which they were applied, the latest first.

    One that refuses because it stands around another's change comes after that one. Returns their names as folded.
    Raises ValueError, before anything is folded, where one has no plain weights to fold into; ModelError where each
    of several waits for another.
    """
    for tuner in tuners:
        if not tuner.folds:
            raise ValueError(f"what {tuner.name} adds has no plain weights to fold into")
    waiting, folded = list(reversed(tuners)), []
    while waiting:
        folded.append(waiting.pop(_fold_one(model, waiting)).name)
    return folded


def _fold_one(model: Model, waiting: Sequence[Folding]) -> int:
    """Fold the first that does not refuse; its place."""
    refusals = []
    for place, tuner in enumerate(waiting):
        try:
            tuner.fold(model)
        except ModelError as error:
            refusals.append(error)
        else:
            return place
    raise refusals[0]
