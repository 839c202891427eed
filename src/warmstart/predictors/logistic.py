"""Multinomial logistic regression."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.examples import Examples
from ..engine.solvers.scaling import center_and_scale, fold, rows
from ..engine.solvers.softmax_regression import softmax_regression
from . import Predictor

SEARCH_TOLERANCE = 1e-2


class Logistic(Predictor):
    """Logistic regression with an L2 penalty, at its optimum.

    W, b minimise  C * sum_i weight_i CE(W x_i + b, y_i) + |W|^2 / 2  over centred and scaled features; score =
    W x + b. scaling: "unit" or "standard" (see engine.solvers.scaling). Row weights are one by default.
    In cross-validation all folds are solved together, along the path of C.

    Source: the linear probe of Radford et al. 2021 (CLIP, arXiv 2103.00020), appendix A.3.
    Differs from the paper: features are centred and scaled; C comes from a short grid by cross-validation, not
    from a sweep on a validation split.
    """

    grid = {"C": (100.0, 0.3, 1.0, 3.0, 10.0, 30.0, 300.0)}

    def __init__(self, C: float = 100.0, scaling: str = "unit"):
        self.C, self.scaling = C, scaling

    def fit(self, train: Examples, classes: Examples, unlabeled: Examples | None = None) -> Logistic:
        features, mean, factor = center_and_scale(train.features, self.scaling)
        row_weights = _row_weights(train)[None]
        penalties = 1 / (self.C * row_weights.sum(dim=1))
        weights, biases = softmax_regression(features, train.labels, len(classes), penalties, row_weights)
        self.weights_, self.biases_ = fold(weights[0, 0], biases[0, 0], mean, factor)
        return self

    def scores(self, queries: Examples) -> Tensor:
        return rows(queries.features, self.scaling) @ self.weights_.T + self.biases_

    @classmethod
    def cross_validate(cls, configurations: list[dict], train: Examples, classes: Examples, folds: Tensor) -> Tensor:
        scores = torch.empty(len(configurations), len(train), len(classes))
        names = folds.unique()
        seen = (folds != names[:, None]) * _row_weights(train)
        predictors = [cls(**configuration) for configuration in configurations]
        for scaling in {predictor.scaling for predictor in predictors}:
            chosen = [i for i, predictor in enumerate(predictors) if predictor.scaling == scaling]
            features, _, _ = center_and_scale(train.features, scaling)
            strengths = torch.tensor([predictors[i].C for i in chosen])
            penalties = 1 / (strengths[:, None] * seen.sum(dim=1))
            weights, biases = softmax_regression(
                features, train.labels, len(classes), penalties, seen, tolerance=SEARCH_TOLERANCE
            )
            for f, name in enumerate(names):
                held = (folds == name).nonzero()[:, 0]
                found = features[held] @ weights[:, f].transpose(1, 2) + biases[:, f, None]
                scores[torch.tensor(chosen)[:, None], held] = found
        return scores


def _row_weights(train: Examples) -> Tensor:
    return torch.ones(len(train)) if train.weights is None else train.weights
