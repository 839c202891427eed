"""The class whose mean is nearest."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.examples import Examples
from ..engine.solvers.class_statistics import class_means
from ..engine.solvers.scaling import unit
from . import Predictor


class NearestMean(Predictor):
    """Nearest class mean (prototype).

    score_c = -scale / 2 * |f - m_c|^2 / v, with m_c the mean of the rows of class c and v the mean square
    distance of the training rows from their common mean. normalize: features and means are divided by their
    length, so that the order is that of the cosine. center: the common mean is subtracted first, which helps
    where all features point the same way. A class without rows is never predicted.

    Source: Janson, Zhang, Aljundi, Elhoseiny 2022 (arXiv 2210.04428); centring as in SimpleShot, Wang, Chao,
    Weinberger, van der Maaten 2019 (arXiv 1911.04623).
    Differs from the paper: the means are computed in one pass over all rows, not online; distances are
    divided by v and multiplied by `scale` so that they can be read as logits.
    """

    grid = {"normalize": (True, False), "center": (False, True)}

    def __init__(self, normalize: bool = True, center: bool = False, scale: float = 20.0):
        self.normalize, self.center, self.scale = normalize, center, scale

    def fit(self, train: Examples, classes: Examples, unlabeled: Examples | None = None) -> NearestMean:
        self.origin_ = train.features.mean(dim=0) * self.center
        features = self._points(train.features)
        means, counts = class_means(features, train.labels, len(classes))
        self.means_ = unit(means) if self.normalize else means
        self.variance_ = (features - features.mean(dim=0)).square().sum(dim=1).mean().clamp_min(1e-12)
        self.empty_ = counts == 0
        return self

    def scores(self, queries: Examples) -> Tensor:
        features = self._points(queries.features)
        products = features @ self.means_.T - self.means_.square().sum(dim=1) / 2
        products -= features.square().sum(dim=1, keepdim=True) / 2
        return (self.scale / self.variance_ * products).masked_fill(self.empty_, -torch.inf)

    def _points(self, features: Tensor) -> Tensor:
        features = features - self.origin_
        return unit(features) if self.normalize else features
