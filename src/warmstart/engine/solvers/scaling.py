"""Features brought to one scale, so that a penalty means the same for every model."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SCALINGS = ("unit", "standard")


def unit(features: Tensor) -> Tensor:
    """Rows (N, D) divided by their Euclidean length."""
    return F.normalize(features, dim=-1)


def rows(features: Tensor, scaling: str) -> Tensor:
    """What a head with folded scaling is applied to."""
    return unit(features) if scaling == "unit" else features


def center_and_scale(features: Tensor, scaling: str) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) * factor with mean square length one; also returns mean (D,) and factor (D,).

    unit: x / |x|, then one factor for all features: directions keep their share of the variance.
    standard: a factor for each feature, so that all have the same variance.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling is {scaling!r}; it can be one of {SCALINGS}")
    features = rows(features, scaling)
    mean = features.mean(dim=0)
    centred = features - mean
    variance = centred.square().mean(dim=0)
    if scaling == "unit":
        variance = variance.mean().expand_as(variance)
    factor = (variance.clamp_min(1e-12) * len(variance)).rsqrt()
    return centred * factor, mean, factor


def fold(weights: Tensor, biases: Tensor, mean: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """A head (..., C, D), (..., C) over scaled features as a head over `rows(features, scaling)`."""
    weights = weights * factor
    return weights, biases - weights @ mean
