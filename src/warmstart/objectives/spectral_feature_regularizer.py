"""Keep pretrained features, decorrelate them, and let their largest singular value stand out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..engine.cast import Cast
from ..engine.kept_features import keep_features
from ..engine.rows import Rows
from ..engine.step import Step
from . import Objective

_KEPT = "features_before"


class SpectralFeatureRegularizer(Objective):
    """NMTune: three terms on the batch's features Z (B, D), beside those F of the model as the training began.

    keep_i   = | f_i / |f_i| - z_i / |z_i| |^2                                    knowledge of the pretrained model
    spread   = (1 / D) sum_{a != b} C_ab^2,  C = (Z - mean Z)^T (Z - mean Z) / (B - 1)      decorrelation
    dominate = - s_1 / sum_j s_j,  s the singular values of Z                      against noise of the pretraining

    keep, spread, dominate: weights of the three; the objective's own weight multiplies all (the paper: 0.01).
    F is computed once for the rows as they are. Terms: `keep` (B,), `spread` (), `dominate` (), float32; those of
    weight 0 are left out. Raises ValueError on rows that the training did not begin with (validation).
    Source: Chen et al. 2023 (arXiv 2309.17002).
    Differs from the official code: there F and Z are two augmentations of a row, `keep` is the mean over D as well, and
    `dominate` averages the five largest shares; the formulas here are the paper's.
    """

    def __init__(self, keep: float = 1.0, spread: float = 1.0, dominate: float = 1.0):
        self.keep, self.spread, self.dominate = keep, spread, dominate

    def prepare(self, cast: Cast, data: Rows) -> None:
        if self.keep:
            keep_features(cast.model, data, _KEPT)

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        features = cast.model.encode(batch).pooled
        if self.keep and _KEPT not in batch:
            raise ValueError("spectral_feature_regularizer keeps features of training rows only: leave out validation")
        with torch.autocast(features.device.type, enabled=False):
            z, found = features.float(), {}
            if self.keep:
                found["keep"] = self.keep * kept(batch[_KEPT].to(z), z)
            if self.spread:
                found["spread"] = self.spread * correlation(z)
            if self.dominate:
                found["dominate"] = -self.dominate * dominance(z)
        return found


def kept(before: Tensor, now: Tensor) -> Tensor:
    """(B,) squared distance of the directions."""
    unit = nn.functional.normalize
    return (unit(before, dim=1) - unit(now, dim=1)).square().sum(1)


def correlation(z: Tensor) -> Tensor:
    """() squares of the covariances of different entries, summed, over D."""
    centred = z - z.mean(0)
    covariance = centred.T @ centred / max(len(z) - 1, 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


def dominance(z: Tensor) -> Tensor:
    """() share of the largest singular value in their sum, in (0, 1]."""
    values = torch.linalg.svdvals(z)
    return values[0] / values.sum().clamp_min(1e-12)
