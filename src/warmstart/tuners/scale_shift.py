"""Scale and shift the output of every layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..engine.rows import Rows
from ..models import Model, ModelError
from ..models.layers import is_convolution, is_norm, is_torch_norm, is_transposed
from ..models.wrapped import Wrapped, innermost, is_wrapper
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

    learning_rates = (1e-3, 5e-3)

    def __init__(self, noise: float = 0.0):
        self.noise = noise

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Layers that are scaled already go on with the scale and shift that they have.

        Raises ModelError for a norm that carries another change.
        """
        model.freeze()
        for tower in model.towers.values():
            for path, layer in tower.linears() + tower.norms():
                if not isinstance(layer, _Scaled):
                    core = innermost(path, layer)[1]
                    if not _follows_weight(core):
                        continue
                    if is_norm(core) and is_wrapper(layer):
                        raise ModelError(f"{path}: fold the other change of this norm before scale_shift")
                    layer = (_ScaledNorm if is_norm(core) else _ScaledOutput)(layer, core, self.noise)
                    tower.module.set_submodule(path, layer)
                for parameter in layer.parameters(recurse=False):
                    parameter.requires_grad_(True)

    @torch.no_grad()
    def fold(self, model: Model) -> None:
        """Raises ModelError where a layer carries another change that was not folded before."""
        if any(is_wrapper(m) and isinstance(m.base_layer, _Scaled) for m in model.modules()):
            raise ModelError("fold what stands around the layers of scale_shift before scale_shift")
        scaled = [
            (tower, path, layer)
            for tower in model.towers.values()
            for path, layer in tower.linears() + tower.norms()
            if isinstance(layer, _Scaled)
        ]
        for _, path, layer in scaled:
            if is_wrapper(layer.base_layer):
                raise ModelError(f"{path}: fold the other change of this layer before scale_shift")
        for tower, path, layer in scaled:
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

    def __init__(self, base_layer: nn.Module, core: nn.Module, noise: float):
        super().__init__(base_layer)
        self.axis = 1 if is_transposed(core) else 0
        self.channels_first = is_convolution(core)
        weight, biased = core.weight, getattr(core, "bias", None) is not None
        self.scale = nn.Parameter(_draw(weight, self.axis, 1.0, noise))
        self.register_parameter("shift", nn.Parameter(_draw(weight, self.axis, 0.0, noise)) if biased else None)

    def folded(self) -> dict[str, Tensor]:
        """Weight and bias of the layer as they are after folding."""
        weight = self.base_layer.weight
        along = [1] * weight.ndim
        along[self.axis] = -1
        weights = {"weight": weight * self.scale.view(along)}
        if self.shift is not None:
            weights["bias"] = self.base_layer.bias * self.scale + self.shift
        return weights


class _ScaledOutput(_Scaled):
    def forward(self, *args, **kwargs) -> Tensor:
        output = self.base_layer(*args, **kwargs)
        along = (-1, *[1] * (output.ndim - 2)) if self.channels_first else (-1,)
        output = output * self.scale.view(along).to(output.dtype)
        return output if self.shift is None else output + self.shift.view(along).to(output.dtype)


class _ScaledNorm(_Scaled):
    """A norm's weights are vectors, so they are folded at every step: nothing is computed on its outputs."""

    def forward(self, *args, **kwargs) -> Tensor:
        return functional_call(self.base_layer, self.folded(), args, kwargs)


def _draw(weight: Tensor, axis: int, mean: float, noise: float) -> Tensor:
    return mean + noise * torch.randn(weight.shape[axis], device=weight.device, dtype=weight.dtype)


@torch.no_grad()
def _follows_weight(layer: nn.Module) -> bool:
    """Whether twice the weight gives twice the output; tried where the layer's class is not torch's own."""
    if type(layer).__module__.startswith("torch.nn.") or is_torch_norm(layer):
        return True
    weight = layer.weight
    shape = (1, weight.shape[0] if weight.ndim == 1 or is_transposed(layer) else weight.shape[1])
    if is_convolution(layer):
        shape = (1, layer.in_channels, *(k * d for k, d in zip(layer.kernel_size, layer.dilation, strict=True)))
    values = torch.linspace(-1, 1, math.prod(shape), device=weight.device, dtype=weight.dtype).view(shape)

    def answer(factor: float) -> Tensor:
        weights = {"weight": factor * weight}
        if getattr(layer, "bias", None) is not None:
            weights["bias"] = torch.zeros_like(layer.bias)
        return functional_call(layer, weights, (values,))

    return torch.allclose(answer(2.0), 2 * answer(1.0), rtol=1e-4, atol=1e-6)
