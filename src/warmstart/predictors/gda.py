"""Gaussian discriminant analysis with one shared, shrunk covariance."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.examples import Examples
from ..engine.solvers.class_statistics import WithinClassCovariance, class_means
from ..engine.solvers.scaling import unit
from . import Predictor


class Gda(Predictor):
    """The hard-to-beat training-free baseline: linear scores from class means and a shared covariance.

    f is a feature of unit length, m_c a class mean, S the covariance of the N rows around their class means:
        P = ((1 - lambda) S + lambda tr(S) / D I)^-1,  w_c = P m_c,  b_c = log pi_c - m_c' P m_c / 2
        score_c = f'w_c + b_c                              without class texts, or with alpha None
        score_c = scale * f't_c + alpha * (f'w_c + b_c)    with class texts t_c
    shrinkage: lambda, or "paper" for D / (N - 1 + D). prior: pi_c "uniform", or "empirical" for a long tail.
    Where no class has two different rows S is zero, and P = scale * I. A class without rows is never predicted.
    Statistics and solution are float64; weights (C, D) and biases (C,) are kept as float32.

    Source: Wang, Liang, Sheng, He, Wang, Tan 2024 (arXiv 2402.04087), equations 4-8.
    Differs from the paper: its precision, D ((N - 1) S + tr(S) I)^-1, is lambda P with lambda as under "paper";
    the factor is left out (alpha takes it up), so that neither the logits nor the weight of the prior shrink
    as rows are added. scale is 20, not CLIP's 100. alpha, shrinkage and prior are searched by
    cross-validation, not on a validation split. Cholesky instead of a pseudo-inverse; no augmented copies of
    the rows; no base-to-new and no EM without labels.
    """

    weighs_texts = ("alpha",)
    grid = {
        "alpha": (1.0, 0.03, 0.1, 0.3, 10.0, None),
        "shrinkage": ("paper", 0.1),
        "prior": ("uniform", "empirical"),
    }

    def __init__(
        self,
        alpha: float | None = 1.0,
        shrinkage: str | float = "paper",
        prior: str = "uniform",
        scale: float = 20.0,
    ):
        if prior not in ("uniform", "empirical"):
            raise ValueError(f"prior is {prior!r}; it can be 'uniform' or 'empirical'")
        self.alpha, self.shrinkage, self.prior, self.scale = alpha, shrinkage, prior, scale

    def fit(self, train: Examples, classes: Examples, unlabeled: Examples | None = None) -> Gda:
        return self._solve(_Statistics(train, len(classes)), classes)

    def scores(self, queries: Examples) -> Tensor:
        return unit(queries.features) @ self.weights_.T + self.biases_

    @classmethod
    def cross_validate(cls, configurations: list[dict], train: Examples, classes: Examples, folds: Tensor) -> Tensor:
        """The statistics of each fold serve all configurations."""
        scores = torch.empty(len(configurations), len(train), len(classes))
        for fold in folds.unique():
            held = train.take(folds == fold)
            statistics = _Statistics(train.take(folds != fold), len(classes))
            for i, configuration in enumerate(configurations):
                scores[i, folds == fold] = cls(**configuration)._solve(statistics, classes).scores(held)
        return scores

    def _solve(self, statistics: _Statistics, classes: Examples) -> Gda:
        means, counts = statistics.means, statistics.counts
        weights = statistics.whitened(self.shrinkage)
        weights = self.scale * means if weights is None else weights
        shares = counts / counts.sum() if self.prior == "empirical" else (counts > 0).to(counts) / len(counts)
        biases = shares.log() - (weights * means).sum(dim=1) / 2
        if self.alpha is not None and classes.features is not None:
            weights = self.scale * unit(classes.features).double() + self.alpha * weights
            biases = self.alpha * biases
        self.weights_, self.biases_ = weights.float(), biases.float()
        return self


class _Statistics:
    """Class means and within-class covariance of unit features, with P m_c for each shrinkage asked for."""

    def __init__(self, train: Examples, classes: int):
        features = unit(train.features).double()
        self.means, self.counts = class_means(features, train.labels, classes)
        self.covariance = WithinClassCovariance(features, train.labels, self.means, self.counts)
        self.solved: dict[str | float, Tensor] = {}

    def whitened(self, shrinkage: str | float) -> Tensor | None:
        """(C, D) rows P m_c; None where the covariance is zero."""
        # Below this the scatter is the rounding of the features, which came as float32.
        if self.covariance.trace <= 1e-10:
            return None
        if shrinkage not in self.solved:
            rows, size = self.covariance.count, self.covariance.size
            share = size / (rows - 1 + size) if shrinkage == "paper" else float(shrinkage)
            self.solved[shrinkage] = self.covariance.solve(self.means.T, share).T
        return self.solved[shrinkage]
