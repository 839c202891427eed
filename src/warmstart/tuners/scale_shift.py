"""Scale and shift the output of every layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..engine.rows import Rows
from ..models import Model, ModelError
from ..models.wrapped import Wrapped, is_wrapper
from . import Tuner


class ScaleShift(Tuner):
    """SSF: a channel-wise scale and shift after every linear, convolution and norm layer trains, and the head.

    y = scale * layer(x) + shift,  scale and shift (D,)
    folded: W' = diag(scale) W,  b' = scale * b + shift; the same for the weight of a norm

    A layer without a bias is scaled only, since its weights have no place for a shift; a layer whose output does
    not follow its weight (weight standardization, norms that add one to it) is left alone. So the folded model
    has the original architecture and equal outputs. Where an activation is fused into a norm layer, scale and
    shift stand before it.

    noise: standard deviation of scale around 1 and of shift around 0 at the start.
    Source: Lian et al. 2022 (arXiv 2210.08823).
    Differs from the paper: starts at the identity (noise 0; the paper draws with 0.02), which few labels do not
    have to train away; no shift where the layer has no bias. The paper's learning rates are 1e-3 to 1e-2.
    """

    learning_rates = (5e-3, 1e-3)

    def __init__(self, noise: float = 0.0):
        self.noise = noise

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Layers that are scaled already go on with the scale and shift that they have."""
        model.freeze()
        for tower in model.towers.values():
            norms = {path for path, _ in tower.norms()}
            for path, layer in tower.linears() + tower.norms():
                if not isinstance(layer, _Scaled) and _follows_weight(layer):
                    kind = _ScaledNorm if path in norms else _ScaledOutput
                    layer = kind(layer, self.noise)
                    tower.module.set_submodule(path, layer)
                if isinstance(layer, _Scaled):
                    layer.own_parameters_require_grad()

    @torch.no_grad()
    def fold(self, model: Model) -> None:
        """Raises ModelError where a layer carries another change that was not folded before."""
        for tower in model.towers.values():
            for path, layer in tower.linears() + tower.norms():
                if isinstance(layer, _Scaled):
                    if is_wrapper(layer.base_layer):
                        raise ModelError(f"{path}: fold the other change of this layer before scale_shift")
                    for name, value in layer.folded().items():
                        getattr(layer.base_layer, name).copy_(value)
                    tower.module.set_submodule(path, layer.base_layer)
        model.forget({"tune": self.describe()})

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        layers = [layer for tower in model.towers.values() for _, layer in tower.linears() + tower.norms()]
        return None if layers else "this encoder has no linear, convolutional or norm layer"


class _Scaled(Wrapped):
    """scale: (D,) over output channels; shift: (D,), None where the layer has no bias."""

    def __init__(self, base_layer: nn.Module, noise: float):
        super().__init__(base_layer)
        width = base_layer.weight.shape[self.channel]
        like = {"device": base_layer.weight.device, "dtype": base_layer.weight.dtype}
        self.scale = nn.Parameter(torch.ones(width, **like))
        self.shift = None if base_layer.bias is None else nn.Parameter(torch.zeros(width, **like))
        if noise:
            nn.init.normal_(self.scale, 1.0, noise)
            if self.shift is not None:
                nn.init.normal_(self.shift, 0.0, noise)

    @property
    def channel(self) -> int:
        return 0

    def folded(self) -> dict[str, Tensor]:
        """weight and bias of the layer as they are after folding."""
        layer = self.base_layer
        along = [1] * layer.weight.ndim
        along[self.channel] = -1
        weights = {"weight": layer.weight * self.scale.view(along)}
        if self.shift is not None:
            weights["bias"] = layer.bias * self.scale + self.shift
        return weights
