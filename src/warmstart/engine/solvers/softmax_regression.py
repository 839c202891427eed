"""Multinomial logistic regression: a path of penalties, over many row subsets, as one batched computation."""

from __future__ import annotations

import torch
from torch import Tensor

from .eigenbasis import eigenbasis

HISTORY = 6
SUFFICIENT_DECREASE = 1e-4
PATIENCE = 3


def softmax_regression(
    features: Tensor,
    labels: Tensor,
    classes: int,
    penalties: Tensor,
    rows: Tensor | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 300,
) -> tuple[Tensor, Tensor]:
    """K x F convex problems:  min  sum_i r_i CE(W x_i + b, y_i) / sum_i r_i  +  penalty / 2 |W|^2.

    features: (N, D) float32 or float64, the precision of the solution; centred ones converge sooner.
    labels: (N,) int64. penalties: (K,) or (K, F), above zero; 1 / (C * sum_i r_i) in terms of scikit-learn's C.
    rows: (F, N) row weights r, zero where a problem does not see a row; one problem of all rows by default.
    tolerance: stop when g' H^-1 g, about twice the distance of the objective from its minimum, is below it
        (in float32 rounding allows some 1e-6), or when the objective no longer falls.
    Returns weights (K, F, C, D) and biases (K, F, C).

    L-BFGS (Liu and Nocedal, 1989), from the strongest penalty to the weakest, each started at the solution
    before it. It works in the eigenbasis of the features, where a diagonal matrix is a good first Hessian:
    h * eigenvalue + penalty, with h the mean of p (1 - p) over rows and classes.
    """
    rows = features.new_ones(1, len(features)) if rows is None else rows.to(features)
    penalties = penalties.to(features).reshape(len(penalties), -1).expand(-1, len(rows))
    basis, variances = eigenbasis(features)
    ones = features.new_ones(len(features), 1)
    inputs = torch.cat([features @ basis, ones], dim=1)
    solution = features.new_zeros(len(rows), classes, inputs.shape[1])
    path = solution.new_empty(len(penalties), *solution.shape)
    for k in penalties[:, 0].argsort(descending=True).tolist():
        objective = _Objective(inputs, labels, torch.cat([variances, ones[0]]), rows, penalties[k])
        solution = path[k] = _minimise(objective, solution, tolerance, max_iterations)
    return path[..., :-1] @ basis.T, path[..., -1].contiguous()


class _Objective:
    """F objectives over weights (F, C, R), the intercept last; logits are (F, C, N)."""

    def __init__(self, inputs: Tensor, labels: Tensor, variances: Tensor, rows: Tensor, penalties: Tensor):
        self.inputs = inputs
        self.rows = rows / rows.sum(dim=1, keepdim=True)
        self.labels = labels.expand(len(rows), 1, -1)
        self.variances = variances
        self.penalties = penalties[:, None, None].repeat(1, 1, inputs.shape[1])
        self.penalties[..., -1] = 0  # the intercept is free

    def logits(self, weights: Tensor) -> Tensor:
        return (weights.flatten(0, 1) @ self.inputs.T).unflatten(0, weights.shape[:2])

    def loss(self, logits: Tensor) -> Tensor:
        """(F,) mean cross-entropy."""
        return ((logits.logsumexp(dim=1) - logits.gather(1, self.labels)[:, 0]) * self.rows).sum(dim=1)

    def gradient(self, weights: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (F, C, R) and diagonal Hessian (F, 1, R)."""
        residual = logits.softmax(dim=1)
        spread = (1 - (residual * residual).sum(dim=1)) / logits.shape[1]
        curvature = (spread * self.rows).sum(dim=1).clamp_min(1e-6)
        residual.scatter_add_(1, self.labels, -torch.ones_like(self.labels, dtype=residual.dtype))
        residual *= self.rows[:, None]
        gradient = (residual.flatten(0, 1) @ self.inputs).unflatten(0, logits.shape[:2])
        return gradient + self.penalties * weights, curvature[:, None, None] * self.variances + self.penalties


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a.flatten(1), b.flatten(1))


def _minimise(objective: _Objective, weights: Tensor, tolerance: float, max_iterations: int) -> Tensor:
    logits = objective.logits(weights)
    gradient, hessian = objective.gradient(weights, logits)
    past: list[tuple[Tensor, Tensor, Tensor]] = []
    idle = torch.zeros(len(weights))
    for _ in range(max_iterations):
        if ((_dot(gradient, gradient / hessian) <= tolerance) | (idle >= PATIENCE)).all():
            break
        direction = _direction(gradient, hessian, past)
        change, logits, fell = _line_search(objective, weights, logits, gradient, direction)
        idle = torch.where(fell, 0, idle + 1)
        weights, before = weights + change, gradient
        gradient, hessian = objective.gradient(weights, logits)
        difference = gradient - before
        curvature = _dot(change, difference)
        # A step lost in rounding says nothing about the curvature: zero leaves it out.
        told = curvature > torch.finfo(weights.dtype).eps * _dot(difference, difference)
        past = [*past[-HISTORY + 1 :], (change, difference, torch.where(told, 1 / curvature, 0))]
    return weights


def _direction(gradient: Tensor, hessian: Tensor, past: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The two-loop recursion of L-BFGS around the diagonal Hessian, scaled to the latest curvature."""
    direction, factors = -gradient, []
    for change, difference, inverse in reversed(past):
        factors.append((inverse * _dot(change, direction))[:, None, None])
        direction = torch.addcmul(direction, factors[-1], difference, value=-1)
    direction = direction / hessian
    if past:
        _, difference, inverse = past[-1]
        scale = 1 / (inverse * _dot(difference, difference / hessian))
        direction *= torch.where(inverse > 0, scale, 1)[:, None, None]
    for (change, difference, inverse), factor in zip(past, reversed(factors), strict=True):
        back = factor - (inverse * _dot(difference, direction))[:, None, None]
        direction = torch.addcmul(direction, back, change)
    return direction


def _line_search(
    objective: _Objective, weights: Tensor, logits: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve the step, for each problem, until its objective falls enough: no product with the features."""
    along = objective.logits(direction)
    weighted = objective.penalties * direction
    slope, cross, bend = _dot(gradient, direction), _dot(weighted, weights), _dot(weighted, direction)
    start = objective.loss(logits)
    slack = torch.finfo(start.dtype).eps * 4 * (start + _dot(objective.penalties * weights, weights) / 2)
    step = torch.ones_like(start)
    for _ in range(20):
        moved = torch.addcmul(logits, step[:, None, None], along)
        rise = objective.loss(moved) - start + step * (cross + step * bend / 2)
        failed = rise > SUFFICIENT_DECREASE * step * slope + slack
        if not failed.any():
            break
        step = torch.where(failed, step / 2, step)
    return step[:, None, None] * direction, moved, rise < -slack
