"""What an update costs beside one that trains every weight."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.costs import update_costs
from ..engine.learner import Learner, Settings
from ..engine.rows import Rows
from ..engine.search import Fitted
from ..models import Model, count
from ..objectives import Objective
from ..tuners import Tuner
from ..updates import Update
from . import Probe


class UpdateCostShare(Probe):
    """Time, memory and trainable weights of an update on the model as it is tuned, as shares of another tuner's.

    step_share = min_k t_k / min_k t'_k,  t the update of the model, t' that of the start model under `against`

    The two are timed in turns, on the same rows, so that other work on the machine slows both alike.
    objective: of the updates. updates: what stands around them in the model's training, such as half fine-tuning.
    against: the tuner to compare with. batch_size: rows of an update, the first of the training. rounds: turns;
        repeats: timed updates in each.
    Reports `step_share`, `activation_share` (of what the forward pass keeps for the backward pass), `trainable_share`
    (of the weights that one update changes), and `step_milliseconds` and `full_milliseconds`, the two sides of the
    first.
    Source: time an epoch as in Shi et al. 2023 (arXiv 2304.05216).
    Differs from the paper: single updates are timed; the model's frozen blocks are computed anew in each, as where
    their states are not cached.
    """

    def __init__(
        self,
        objective: Objective | list[Objective],
        updates: list[Update] | None = None,
        against: Tuner = "full",
        batch_size: int = 16,
        rounds: int = 3,
        repeats: int = 2,
    ):
        if rounds < 1 or repeats < 1:
            raise ValueError("rounds and repeats are 1 or more")
        self.objective, self.updates, self.against = objective, updates or [], against
        self.batch_size, self.rounds, self.repeats = batch_size, rounds, repeats

    def members(self) -> tuple[str, ...]:
        return ("start",)

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        tuned = self._learner(cast.model, data, None, self.updates)
        full = self._learner(cast["start"], data, self.against)
        turns = [[update_costs(one, self.repeats) for one in (tuned, full)] for _ in range(self.rounds)]
        times = [min(turn[side]["step_milliseconds"] for turn in turns) for side in (0, 1)]
        activations = [cost["activation_megabytes"] for cost in turns[0]]
        trained = [_changed(one) for one in (tuned, full)]
        return {
            "step_share": times[0] / times[1],
            "activation_share": activations[0] / activations[1],
            "trainable_share": trained[0] / trained[1],
            "step_milliseconds": times[0],
            "full_milliseconds": times[1],
        }

    def _learner(self, model: Model, data: Splits, tuner: Tuner | None, updates: Sequence[Update] = ()) -> Learner:
        twin = copy.deepcopy(model)
        objectives = self.objective if isinstance(self.objective, list) else [self.objective]
        # A copy each: objectives attach to the model what they need, and may keep what they saw of its data.
        pairs = [(copy.deepcopy(one), 1.0) for one in objectives]
        settings = Settings(batch_size=min(self.batch_size, len(data.train)), learning_rate=1e-6)
        return Learner(Cast(twin), pairs, tuner, Rows(twin, data.train), settings, updates=copy.deepcopy(updates))


def _changed(learner: Learner) -> int:
    """How many weights the latest update had a gradient for."""
    return count([parameter for _, parameter in learner.model.trainable() if parameter.grad is not None])
