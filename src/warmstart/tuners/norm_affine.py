"""Only the scale and shift of norm layers train."""

from __future__ import annotations

from ..engine.rows import Rows
from ..models import Model
from ..models.wrapped import innermost
from . import Tuner


class NormAffine(Tuner):
    """Norm tuning: the scale and shift of every norm layer, and the head, train.

    y = (x - mean) / sqrt(var + eps) * scale + shift, with scale and shift (D,) trained and all else frozen.
    Layer, batch, group and RMS norms (which have no shift). Batch norms go by the statistics of the batch while
    they train, and keep a moving average of them.

    Source: Frankle et al. 2021 (arXiv 2003.00152) for batch norms, Qi et al. 2022 (arXiv 2211.16209) for layer norms.
    Differs from the papers: theirs train all of ImageNet or a GLUE task at 1e-1 (SGD) and 1e-4 to 1e-2; ours fit
    small data under AdamW.
    """

    learning_rates = (1e-3, 5e-3)

    def apply(self, model: Model, data: Rows | None = None) -> None:
        model.freeze()
        for tower in model.towers.values():
            for path, norm in tower.norms():
                for parameter in innermost(path, norm)[1].parameters(recurse=False):
                    parameter.requires_grad_(True)

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        if any(tower.norms() for tower in model.towers.values()):
            return None
        return "this encoder has no norm layers with weights"
