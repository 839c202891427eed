"""Tuners say what trains, and how weights are re-parametrized.

A tuner is a class in a file of this folder, named after the file in CamelCase. Its constructor's signature is
its configuration.

    class Full(Tuner):
        learning_rates = (1e-4, 3e-4)
        def apply(self, model, data=None):
            model.requires_grad_(True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..engine.ingredient import Ingredient
from ..engine.rows import Rows
from ..engine.step import Step
from ..models import Model

if TYPE_CHECKING:
    from ..engine.learner import Learner


class Tuner(Ingredient):
    """What trains in a model.

    learning_rates: what `warmstart compare` searches, the default first (AdamW, tiny-scale defaults; a paper's
        own default stands in the tuner's docstring).
    head_only: nothing of the encoder trains on any model, so that a head on its features is all there is to it.
    folds: whether `fold` leaves the plain architecture; False where no plain weights compute the same.
    starts_there: whether the model computes what it did as long as nothing has trained.

    What a tuner works on are the model's towers: where a dual encoder's towers are narrowed to one, only that
    one changes. What it adds to the encoder lives in `models.wrapped.Wrapped` modules (or peft's, which are
    alike), which is how a saved model tells it from the architecture.
    """

    learning_rates: ClassVar[tuple[float, ...]] = (1e-3,)
    head_only: ClassVar[bool] = False
    folds: ClassVar[bool] = True
    starts_there: ClassVar[bool] = True

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Freeze, unfreeze, re-parametrize. What is attached to the model (heads) always trains.

        The change must be repeatable from the constructor's arguments alone, up to the tensors: a checkpoint
        replays `apply(model)` without data and then loads tensors. data: the rows to train on, in a training only.
        """
        raise NotImplementedError

    def choose(self, learner: Learner) -> None:
        """Choose what trains by the losses or gradients of this training, before its first update.

        The learner is whole: `learner.trial()` takes steps that leave no trace, `learner.differentiate` gives
        gradients. Optimizers are made anew afterwards. What is chosen is kept in tensors of `Wrapped` modules; a
        tensor whose size is chosen here is named in the module's `sized`, and takes its size from a saved file.
        """

    def after_update(self, model: Model, step: Step) -> None:
        """Called after every change of weights (masks recomputed mid-run, slices redrawn)."""

    def fold(self, model: Model) -> None:
        """Write the change into plain weights of the original architecture, where that is possible exactly.

        Does nothing where `apply` only chose what trains. A folded change is no longer among `model.changes`.
        """

    def prefix(self, model: Model) -> int:
        """How many of the first blocks (with everything before them) stay exactly as they were.

        The states behind them are computed once and trained from. 0: nothing can be reused.
        """
        return 0

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        """Why this tuner does not apply to this model, in words for the user; None where it does."""
        return None
