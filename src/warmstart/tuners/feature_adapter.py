"""A small map of the frozen encoder's features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ..engine.rows import Rows
from ..models import Model
from ..models.pooled import behind_pooling, encoders, no_place, pooled_width
from ..models.wrapped import Wrapped
from . import Tuner


class FeatureAdapter(Tuner):
    """The encoder stays as it is; a map of its pooled features trains, and the head.

    mlp:     z = f + W_2 relu(W_1 f + b_1) + b_2, without the first f where not `residual`
    affine:  z = A f + b,  A = I and b = 0 at the start

    It stands behind pooling and projection and before a normalization of length, so that heads, predictors and
    similarities all read z (B, D) in the place of f (B, D). Everything before it is frozen: the states of the last
    block are computed once. Each encoder of a dual encoder has a map of its own.

    form: as above. hidden: width of the mlp, None for D. residual: W_2 and b_2 then start at zero, and the model at
        the frozen model; without, W_2 is drawn and z starts elsewhere.
    Raises ValueError for another form or a hidden width below 1.
    Source: Chen et al. 2023 (NMTune, arXiv 2309.17002), an MLP of two layers in the place of the features; Muttenthaler
    et al. 2024 (AligNet, arXiv 2409.06509), an affine map near the identity.
    Differs from the papers: the MLP is a residual as a default, and has no batch norm, as NMTune's code has between
    its layers.
    """

    learning_rates = (1e-3, 3e-3)
    folds = False

    def __init__(self, form: Literal["mlp", "affine"] = "mlp", hidden: int | None = None, residual: bool = True):
        if form not in ("mlp", "affine"):
            raise ValueError(f"form is `mlp` or `affine`, not {form!r}")
        if hidden is not None and hidden < 1:
            raise ValueError(f"hidden is 1 or more, not {hidden}")
        self.form, self.hidden, self.residual = form, hidden, residual

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Where features are mapped already, that map goes on training."""
        model.freeze()
        for tower in encoders(model):
            width = pooled_width(tower)
            adapted = behind_pooling(model, tower, _Mapped, lambda base, width=width: self._around(base, width))
            adapted.map.requires_grad_(True)

    def _around(self, base_layer: nn.Module, width: int) -> _Mapped:
        if self.form == "affine":
            layer = nn.Linear(width, width)
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
            return _Mapped(base_layer, layer, False)
        hidden = self.hidden or width
        layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        if self.residual:
            nn.init.zeros_(layers[-1].weight)
            nn.init.zeros_(layers[-1].bias)
        return _Mapped(base_layer, layers, self.residual)

    def prefix(self, model: Model) -> int:
        return model.blocks_below(0)

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        return no_place(model)


class _Mapped(Wrapped):
    """(B, D) -> (B, D)."""

    def __init__(self, base_layer: nn.Module, layers: nn.Module, residual: bool):
        super().__init__(base_layer)
        self.map, self.residual = layers, residual

    def forward(self, *args, **kwargs) -> Tensor:
        features = self.base_layer(*args, **kwargs)
        return features + self.map(features) if self.residual else self.map(features)
