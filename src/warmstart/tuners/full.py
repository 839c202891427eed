"""Every weight trains."""

from __future__ import annotations

from ..engine.rows import Rows
from ..models import Model
from . import Tuner


class Full(Tuner):
    """Full fine-tuning: every weight and the head train.

    w <- w - lr * AdamW(grad), for all w
    """

    learning_rates = (2e-4, 5e-5)

    def apply(self, model: Model, data: Rows | None = None) -> None:
        model.requires_grad_(True)
