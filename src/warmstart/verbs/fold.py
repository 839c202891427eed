"""Write what tuners added into plain weights."""

from __future__ import annotations

from .. import ingredients
from ..engine.folding import fold_all
from .state import State


def fold(state: State) -> dict:
    """Go on with the plain architecture: low-rank updates, scales, sparse changes become part of its weights.

    The latest tuner is folded first, unless it stands around the change of another. Models that are merged must be
    folded before.
    Raises ValueError where a tuner has no plain weights to fold into, ModelError where each waits for another.
    """
    model = state.model
    tuners = [ingredients.build("tuners", change["tune"]) for change in model.changes if "tune" in change]
    state.made = model
    return {"folded": fold_all(model, tuners)}
