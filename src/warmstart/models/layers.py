"""Kinds of layers, told apart on any architecture."""

from __future__ import annotations

from torch import nn

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORM = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._BatchNorm)


def is_linear(layer: nn.Module) -> bool:
    """A linear layer or a convolution."""
    return isinstance(layer, _LINEAR) or is_transposed(layer)


def is_transposed(layer: nn.Module) -> bool:
    """A linear layer whose weight is stored (in, out): transformers' Conv1D, which is no convolution."""
    return type(layer).__name__ == "Conv1D" and not isinstance(layer, _LINEAR)


def is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, _LINEAR[1:])


def is_torch_norm(layer: nn.Module) -> bool:
    """A norm with weights, of torch or derived from one of torch's."""
    return isinstance(layer, _NORM) and isinstance(getattr(layer, "weight", None), nn.Parameter)


def is_norm(layer: nn.Module) -> bool:
    """A norm with weights; also one that an architecture defines and names so, as RMS norms usually are."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter):
        return False
    return is_torch_norm(layer) or ("Norm" in type(layer).__name__ and weight.ndim == 1 and not layer._modules)
