"""Write what tuners added into plain weights."""

from __future__ import annotations

from .. import ingredients
from .state import State


def fold(state: State) -> dict:
    """Go on with the plain architecture: low-rank updates, scales, sparse changes become part of its weights.

    The latest tuner is folded first. Models that are merged must be folded before.
    Raises ValueError where a tuner has no plain weights to fold into.
    """
    model, folded = state.model, []
    for change in reversed([change["tune"] for change in model.changes if "tune" in change]):
        tuner = ingredients.build("tuners", change)
        if not tuner.folds:
            raise ValueError(f"what {tuner.name} adds has no plain weights to fold into")
        tuner.fold(model)
        folded.append(tuner.name)
    state.made = model
    return {"folded": folded}
