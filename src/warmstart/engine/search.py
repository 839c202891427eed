"""The configuration of a predictor, chosen on its training rows alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .examples import Examples

SEARCH_ROWS = 2500


@dataclass(frozen=True)
class Trial:
    """One configuration: out-of-fold accuracy, and negative log-likelihood in nats at its own temperature."""

    configuration: dict
    accuracy: float
    nll: float
    temperature: float


@dataclass(frozen=True)
class Choice:
    """The configuration that did best, and its temperature; no trials where nothing could be searched."""

    configuration: dict
    temperature: float = 1.0
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """A predictor with the configuration and the temperature that were found for it."""

    predictor: object
    choice: Choice

    def scores(self, queries: Examples) -> Tensor:
        """(N, C) logits: their softmax is the predicted probability."""
        return self.predictor.scores(queries) / self.choice.temperature

    def description(self) -> dict:
        """What `restore` needs beside the tensors, as plain JSON."""
        return {"configuration": self.choice.configuration, "temperature": self.choice.temperature}

    def state(self) -> dict[str, Tensor]:
        return self.predictor.state()


def restore(predictor: type, description: dict, state: dict[str, Tensor]) -> Fitted:
    choice = Choice(description["configuration"], description["temperature"])
    return Fitted(predictor(**choice.configuration).restore(state), choice)


def fit(
    predictor: type,
    train: Examples,
    classes: Examples,
    unlabeled: Examples | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    limit: int | None = None,
) -> Fitted:
    """Search, then fit on all rows with what was found."""
    choice = search(predictor, train, classes, folds=folds, seed=seed, limit=limit)
    return Fitted(predictor(**choice.configuration).fit(train, classes, unlabeled), choice)


def search(
    predictor: type,
    train: Examples,
    classes: Examples,
    *,
    folds: int = 5,
    seed: int = 0,
    limit: int | None = None,
    rows: int = SEARCH_ROWS,
) -> Choice:
    """The configuration with the best out-of-fold accuracy; among equals the lowest NLL, then the first.

    predictor: a class with `configurations(classes)` (the defaults first) and `cross_validate(...)`.
    folds: at most this many; each class has a row in every fold. Where a class has one row, or `folds` is
        below two, the defaults are taken, at temperature one.
    limit: try only the first so many configurations.
    rows: search on a stratified sample of this many rows where there are more.
    """
    configurations = predictor.configurations(classes)[:limit]
    count = min(folds, int(train.labels.unique(return_counts=True)[1].min()))
    if count < 2:
        return Choice(configurations[0])
    generator = torch.Generator().manual_seed(seed)
    if len(train) > rows:
        train = train.take(stratified_sample(train.labels, rows, count, generator))
    scores = predictor.cross_validate(configurations, train, classes, stratified_folds(train.labels, count, generator))
    trials = tuple(_judge(item, s, train.labels) for item, s in zip(configurations, scores, strict=True))
    best = min(trials, key=lambda trial: (-trial.accuracy, trial.nll))
    return Choice(best.configuration, best.temperature, trials)


def stratified_folds(labels: Tensor, folds: int, generator: torch.Generator) -> Tensor:
    """(N,) fold of each row: folds, and each class within them, differ in size by at most one."""
    found = torch.empty_like(labels)
    found[_shuffled_by_class(labels, generator)] = torch.arange(len(labels)) % folds
    return found


def stratified_sample(labels: Tensor, count: int, least: int, generator: torch.Generator) -> Tensor:
    """Sorted indices of about `count` rows, each class in proportion but with `least` rows where it has them."""
    sizes = torch.bincount(labels)
    wanted = (sizes * count / len(labels)).round().long().clamp_min(least)
    order = _shuffled_by_class(labels, generator)
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(len(labels)) - starts[labels[order]]
    return order[rank < wanted[labels[order]]].sort().values


def fit_temperature(scores: Tensor, labels: Tensor, iterations: int = 30) -> tuple[float, float]:
    """Temperature T > 0 that minimises the NLL of softmax(scores / T), and that NLL.

    The NLL is convex in 1 / T, so Newton's method with bisection finds it. As in Platt's scaling (1999) the
    targets are a little smooth, (1 - e) onehot + e / C with e = 1 / (N + 2), so that T stays above zero where
    all rows are right. Temperature scaling: Guo et al. 2017 (arXiv 1706.04599).
    """
    finite = scores.isfinite()
    scores = torch.where(finite, scores, scores[finite].min() if finite.any() else 0).double()
    spread = (scores.amax(dim=1) - scores.mean(dim=1)).mean().clamp_min(1e-12)
    scores = scores / spread
    smooth = 1 / (len(labels) + 2)
    picked = scores.gather(1, labels[:, None])[:, 0]
    target = ((1 - smooth) * picked + smooth * scores.mean(dim=1)).mean()
    low, high, inverse = 1e-3, 1e3, 1.0
    for _ in range(iterations):
        probabilities = (inverse * scores).softmax(dim=1)
        expected = (probabilities * scores).sum(dim=1)
        slope = (expected.mean() - target).item()
        bend = ((probabilities * scores.square()).sum(dim=1) - expected.square()).mean().item()
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        newton = inverse - slope / max(bend, 1e-12)
        following = newton if low < newton < high else (low * high) ** 0.5
        if abs(following - inverse) < 1e-6 * inverse:
            break
        inverse = following
    return spread.item() / inverse, F.cross_entropy(inverse * scores, labels).item()


def _judge(configuration: dict, scores: Tensor, labels: Tensor) -> Trial:
    if scores.isnan().any():
        return Trial(configuration, accuracy=0.0, nll=float("inf"), temperature=1.0)
    temperature, nll = fit_temperature(scores, labels)
    accuracy = (scores.argmax(dim=1) == labels).double().mean().item()
    return Trial(configuration, accuracy, nll, temperature)


def _shuffled_by_class(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Indices of the rows, class after class, in random order within each."""
    shuffled = torch.randperm(len(labels), generator=generator)
    return shuffled[labels[shuffled].argsort(stable=True)]
