"""Votes of the nearest training rows."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.examples import Examples
from ..engine.solvers.scaling import unit
from ..engine.solvers.similarity import similarity_blocks
from . import Predictor


class Knn(Predictor):
    """k nearest neighbours under the cosine.

    votes_c = sum of exp(cos(f, f_j) / temperature) over those of the k nearest rows j with label c;
    temperature None counts each of them as one. score_c = log((k p_c + 1 / C) / (k + 1)), with p_c the share
    of the votes: one more vote, spread evenly, keeps the logarithm finite.

    Source: Wu, Xiong, Yu, Lin 2018 (arXiv 1805.01978), temperature 0.07.
    Differs from the paper: k is 5 by default, not 200, and the votes are read as logits.
    """

    grid = {"k": (5, 1, 3, 10, 20, 50), "temperature": (0.07, None)}

    def __init__(self, k: int = 5, temperature: float | None = 0.07):
        self.k, self.temperature = k, temperature

    def fit(self, train: Examples, classes: Examples, unlabeled: Examples | None = None) -> Knn:
        self.keys_, self.labels_ = unit(train.features), train.labels
        self.classes_ = torch.tensor(len(classes))
        return self

    def scores(self, queries: Examples) -> Tensor:
        return self._scores(*self._neighbours(queries.features, self.k))

    @classmethod
    def cross_validate(cls, configurations: list[dict], train: Examples, classes: Examples, folds: Tensor) -> Tensor:
        """One search for the neighbours of each fold serves all configurations."""
        scores = torch.empty(len(configurations), len(train), len(classes))
        predictors = [cls(**configuration) for configuration in configurations]
        most = max(predictor.k for predictor in predictors)
        for fold in folds.unique():
            seen, held = train.take(folds != fold), folds == fold
            near, labels = cls().fit(seen, classes)._neighbours(train.features[held], most)
            for i, predictor in enumerate(predictors):
                predictor.classes_ = torch.tensor(len(classes))
                scores[i, held] = predictor._scores(near[:, : predictor.k], labels[:, : predictor.k])
        return scores

    def _neighbours(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines and labels (N, k) of the nearest rows, nearest first."""
        blocks = [
            similarity.topk(min(k, len(self.keys_)), dim=1)
            for _, similarity in similarity_blocks(unit(features), self.keys_)
        ]
        return torch.cat([b.values for b in blocks]), self.labels_[torch.cat([b.indices for b in blocks])]

    def _scores(self, near: Tensor, labels: Tensor) -> Tensor:
        weights = torch.ones_like(near) if self.temperature is None else near / self.temperature
        weights = weights.softmax(dim=1)
        count, size = near.shape[1], int(self.classes_)
        votes = near.new_zeros(len(near), size).scatter_add_(1, labels, weights)
        return ((count * votes + 1 / size) / (count + 1)).log()
