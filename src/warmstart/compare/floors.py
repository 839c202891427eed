"""Rows that stand in every board: what an answer is worth without the pretrained model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.dataset import Dataset

MAJORITY, RAW, RANDOM = "majority", "raw_logistic", "random_backbone"
NAMES = (MAJORITY, RAW, RANDOM)
_PIXELS = 32


def majority_probabilities(labels: np.ndarray, classes: int, count: int) -> np.ndarray:
    """(count, C): every row gets the training frequencies; among equal classes the first is the answer."""
    frequency = np.bincount(labels, minlength=classes) / len(labels)
    return np.tile(frequency, (count, 1))


def raw_features(train: Dataset, others: Sequence[Dataset]) -> list:
    """Features that know nothing of the model: TF-IDF of words for text, pixels for images.

    Images are scaled to 32 x 32 at most, centred by the training mean. TF-IDF is fitted on `train` alone.
    """
    if train.modality == "text":
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+", lowercase=True)
        fitted = vectorizer.fit_transform(train.texts(train.input_role))
        return [fitted, *(vectorizer.transform(rows.texts(rows.input_role)) for rows in others)]
    pixels = [_pixels(rows) for rows in (train, *others)]
    mean = pixels[0].mean(0)
    return [part - mean for part in pixels]


def raw_logistic_probabilities(train: Dataset, labels: np.ndarray, classes: int, others: Sequence[Dataset]) -> list:
    """[(N, C)] of each of `others`: logistic regression (scikit-learn, C = 10) on raw features."""
    import warnings

    from sklearn.linear_model import LogisticRegression

    features, *rest = raw_features(train, others)
    with warnings.catch_warnings():
        # With one label a class, scikit-learn wonders whether this is a regression.
        warnings.simplefilter("ignore", UserWarning)
        fitted = LogisticRegression(C=10.0, max_iter=300).fit(features, labels)
    found = []
    for part in rest:
        probabilities = np.zeros((part.shape[0], classes))
        probabilities[:, fitted.classes_] = fitted.predict_proba(part)
        found.append(probabilities)
    return found


def _pixels(rows: Dataset) -> np.ndarray:
    from PIL import Image

    found = []
    for i in range(len(rows)):
        pixels = rows.image(i, rows.input_role)
        size = min(_PIXELS, *pixels.shape[:2])
        found.append(np.asarray(Image.fromarray(pixels).resize((size, size)), np.float32).ravel() / 255)
    return np.stack(found)
