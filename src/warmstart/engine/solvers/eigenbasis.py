"""The directions that rows of features span."""

from __future__ import annotations

import torch
from torch import Tensor


def eigenbasis(features: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors (D, R) of X'X and the mean square of the rows along each (R,), for X (N, D) of rank R.

    Computed from the smaller of X'X and XX'. Directions whose variance is rounding noise are left out.
    """
    count, size = features.shape
    wide = size > count
    values, vectors = torch.linalg.eigh(features @ features.T if wide else features.T @ features)
    kept = values > values[-1].clamp_min(1e-30) * torch.finfo(features.dtype).eps * 10
    values, vectors = values[kept], vectors[:, kept]
    return (features.T @ (vectors / values.sqrt()) if wide else vectors), values / count
