"""Stored features vote, added to zero-shot logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.examples import Examples
from ..engine.solvers.scaling import unit
from ..engine.solvers.similarity import similarity_blocks
from . import Predictor


class FeatureCache(Predictor):
    """Tip-Adapter without training: a key-value cache of the training rows.

    score = alpha * exp(-beta (1 - f F')) Y + scale * f T', with F the unit features of the training rows,
    Y their one-hot labels and T the unit features of the class texts. Where the model has no text tower the
    score is the logarithm of the first term, whose softmax is the share of the votes.

    Source: Zhang et al. 2022 (Tip-Adapter, arXiv 2207.09519).
    Differs from the paper: scale is 20, not CLIP's 100, and alpha 3, not 1, by default; alpha and beta are
    searched by cross-validation, not on a validation split; no augmented copies of the rows.
    """

    weighs_texts = ("alpha",)
    grid = {"beta": (5.5, 1.0, 2.5, 10.0, 20.0), "alpha": (3.0, 1.0, 10.0, 30.0, 100.0)}

    def __init__(self, beta: float = 5.5, alpha: float = 3.0, scale: float = 20.0):
        self.beta, self.alpha, self.scale = beta, alpha, scale
        self.texts_ = None

    def fit(self, train: Examples, classes: Examples, unlabeled: Examples | None = None) -> FeatureCache:
        self.keys_, self.labels_ = unit(train.features), train.labels
        self.classes_ = torch.tensor(len(classes))
        self.texts_ = None if classes.features is None else unit(classes.features)
        return self

    def scores(self, queries: Examples) -> Tensor:
        features = unit(queries.features)
        return self._combine(self._votes(features, [self.beta])[0], features)

    @classmethod
    def cross_validate(cls, configurations: list[dict], train: Examples, classes: Examples, folds: Tensor) -> Tensor:
        """One product with the keys of each fold serves all configurations."""
        scores = torch.empty(len(configurations), len(train), len(classes))
        predictors = [cls(**configuration) for configuration in configurations]
        betas = sorted({predictor.beta for predictor in predictors})
        for fold in folds.unique():
            held = folds == fold
            features = unit(train.features[held])
            seen = train.take(~held)
            votes = cls().fit(seen, classes)._votes(features, betas)
            for i, predictor in enumerate(predictors):
                predictor.fit(seen, classes)
                scores[i, held] = predictor._combine(votes[betas.index(predictor.beta)], features)
        return scores

    def _votes(self, features: Tensor, betas: list[float]) -> Tensor:
        """(len(betas), N, C) sums of exp(-beta (1 - cosine)) over the keys of each class."""
        values = F.one_hot(self.labels_, int(self.classes_)).to(features)
        votes = features.new_empty(len(betas), len(features), values.shape[1])
        for part, similarity in similarity_blocks(features, self.keys_):
            for i, beta in enumerate(betas):
                votes[i, part] = (similarity - 1).mul_(beta).exp_() @ values
        return votes

    def _combine(self, votes: Tensor, features: Tensor) -> Tensor:
        if self.texts_ is None:
            return votes.clamp_min(torch.finfo(votes.dtype).tiny).log()
        return self.alpha * votes + self.scale * features @ self.texts_.T
