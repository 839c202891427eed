"""Linear regression on one-hot labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.examples import Examples
from ..engine.solvers.eigenbasis import eigenbasis
from ..engine.solvers.scaling import center_and_scale, fold, rows
from . import Predictor


class Ridge(Predictor):
    """Ridge regression in closed form, with cross-validation in closed form.

    W, b minimise  |Y - X W' - b|^2 + strength * |W|^2  over centred and scaled features X and one-hot labels
    Y; score = scale * (W x + b). scaling: "unit" or "standard" (see engine.solvers.scaling).
    The scores of a fold F left out are Y_F - (I - H_FF)^-1 (Y_F - Z_F), with H the hat matrix and Z = H Y the fit
    on all rows; a fold of one row gives the leave-one-out formula.

    Source: Hoerl and Kennard 1970; left out rows as in Golub, Heath and Wahba 1979.
    Differs from the paper: regression on class indicators, read as logits through `scale`.
    """

    grid = {"strength": (1.0, 0.1, 0.3, 3.0, 10.0, 30.0, 100.0)}

    def __init__(self, strength: float = 1.0, scaling: str = "unit", scale: float = 20.0):
        self.strength, self.scaling, self.scale = strength, scaling, scale

    def fit(self, train: Examples, classes: Examples, unlabeled: Examples | None = None) -> Ridge:
        features, mean, factor = center_and_scale(train.features, self.scaling)
        basis, variances = eigenbasis(features)
        targets = F.one_hot(train.labels, len(classes)).to(features)
        common = targets.mean(dim=0)
        along = (features @ basis).T @ (targets - common)
        weights = (basis @ (along / (variances * len(train) + self.strength)[:, None])).T
        self.weights_, self.biases_ = fold(self.scale * weights, self.scale * common, mean, factor)
        return self

    def scores(self, queries: Examples) -> Tensor:
        return rows(queries.features, self.scaling) @ self.weights_.T + self.biases_

    @classmethod
    def cross_validate(cls, configurations: list[dict], train: Examples, classes: Examples, folds: Tensor) -> Tensor:
        """One eigendecomposition serves all strengths and folds."""
        scores = torch.empty(len(configurations), len(train), len(classes))
        targets = F.one_hot(train.labels, len(classes)).double()
        predictors = [cls(**configuration) for configuration in configurations]
        for scaling in {predictor.scaling for predictor in predictors}:
            features, _, _ = center_and_scale(train.features, scaling)
            basis, variances = eigenbasis(features)
            inputs = (features @ basis).double()
            for i, predictor in enumerate(predictors):
                if predictor.scaling == scaling:
                    damped = inputs / (variances * len(train) + predictor.strength)
                    scores[i] = predictor.scale * _leave_fold_out(inputs, damped, targets, folds)
        return scores


def _leave_fold_out(inputs: Tensor, damped: Tensor, targets: Tensor, folds: Tensor) -> Tensor:
    """What a fit without a row's fold gives for it, from the fit on all rows and its hat matrix."""
    common = targets.mean(dim=0)
    residuals = targets - common - damped @ (inputs.T @ (targets - common))
    found = torch.empty_like(targets)
    for fold_ in folds.unique():
        held = folds == fold_
        hat = damped[held] @ inputs[held].T + 1 / len(inputs)
        kept = torch.eye(len(hat), dtype=hat.dtype) - hat
        found[held] = targets[held] - torch.linalg.solve(kept, residuals[held])
    return found
