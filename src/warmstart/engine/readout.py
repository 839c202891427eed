"""Answers from a model: features of rows and of class names, a predictor fitted on them, class scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..models import Model
from .examples import Examples, are_numbers
from .features import Encoder
from .search import Fitted, fit


def encode_rows(model: Model, dataset: Dataset, *, store: bool = True) -> Examples:
    """Pooled features of all rows, with their labels where they have some.

    store: keep the features in the cache; pointless for weights that nobody will meet again.
    """
    features = Encoder(model, dataset, store=store).features().pooled()
    labels = torch.from_numpy(dataset.labels) if "label" in dataset.roles else None
    return Examples(features=features, labels=labels)


def encode_classes(model: Model, names: tuple[str, ...]) -> Examples:
    """The table of classes: names, and their features where a text tower can read them.

    Names that are numbers say nothing, and get no features.
    """
    if "text" not in model.towers or are_numbers(names):
        return Examples(names=names)
    words = [name.replace("_", " ").strip() or "nothing" for name in names]
    texts = [f"a photo of a {word}." for word in words] if "image" in model.towers else words
    table = Dataset(pa.table({"text": texts}), {"text": "text"}, name="class names")
    return Examples(features=Encoder(model, table, store=False).features().pooled(), names=names)


def fit_predictor(
    predictor,
    train: Examples,
    classes: Examples,
    unlabeled: Examples | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Fitted:
    """Fit a predictor; what its recipe gives is kept, what it leaves open is searched by cross-validation.

    Raises ValueError where the predictor does not apply to these rows and classes.
    """
    reason = type(predictor).unfit(train, classes)
    if reason is not None:
        raise ValueError(f"{predictor.name} does not apply: {reason}")
    return fit(_Pinned(type(predictor), predictor.arguments), train, classes, unlabeled, folds=folds, seed=seed)


def class_scores(model: Model, dataset: Dataset, fitted: Fitted | None = None) -> Tensor:
    """(N, C) float32 logits of all rows: of the fitted predictor, else of the model's attached `head`.

    Raises ValueError where nothing answers.
    """
    if fitted is None and "head" not in model.attached:
        raise ValueError("nothing answers yet: fit a predictor, or train with cross_entropy, in an earlier step")
    rows = encode_rows(model, dataset, store=fitted is not None)
    if fitted is not None:
        return fitted.scores(rows)
    with torch.inference_mode():
        return model.attached["head"](rows.features.to(model.device)).float().cpu()


def labelled(dataset: Dataset) -> np.ndarray:
    """Indices of the rows that have a label."""
    return np.flatnonzero(dataset.labels >= 0) if "label" in dataset.roles else np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Pinned:
    """A predictor class, some of whose parameters are given: the search tries the rest of its grid."""

    predictor: type
    given: dict

    def __call__(self, **configuration):
        return self.predictor(**self.given | configuration)

    def configurations(self, classes: Examples | None = None) -> list[dict]:
        found: list[dict] = []
        for configuration in self.predictor.configurations(classes):
            configuration = configuration | self.given
            if configuration not in found:
                found.append(configuration)
        return found

    def cross_validate(self, *arguments) -> Tensor:
        return self.predictor.cross_validate(*arguments)
