"""Only the head trains, on frozen features."""

from __future__ import annotations

from ..engine.rows import Rows
from ..models import Model
from . import Tuner


class LinearHead(Tuner):
    """Linear probing: the encoder stays as it is, only what is attached to the model trains.

    min_h L(h(f(x)), y), f frozen and in evaluation mode

    Features never change, so they are computed once: `warmstart compare` trains heads on cached pooled features,
    the loop on cached states of the last block.
    Source: Alain and Bengio 2016 (arXiv 1610.01644).
    Differs from the paper: the probe reads the pooled features of the encoder, not every layer's.
    """

    learning_rates = (1e-2, 1e-3)
    head_only = True

    def apply(self, model: Model, data: Rows | None = None) -> None:
        model.freeze()

    def prefix(self, model: Model) -> int:
        return model.blocks_below(0)
