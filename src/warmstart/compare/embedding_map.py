"""The two-dimensional map of the start model's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from . import prediction_figures as figures
from .cards import example_texts
from .notable import Method, Votes

MAP_POINTS = 600


def embedding_map(
    votes: Votes,
    method: Method | None,
    embeddings: np.ndarray,
    classes: Sequence[str],
    test: Dataset | None,
) -> dict[str, Any] | None:
    """t-SNE (PCA below 30 rows) of at most `MAP_POINTS` labelled test rows, and how true to neighbours it is.

    None where there are fewer than three rows or all embeddings are equal.
    """
    from sklearn.neighbors import NearestNeighbors

    labelled = np.flatnonzero(votes.label[: len(embeddings)] >= 0)
    rows = np.sort(np.random.default_rng(0).permutation(labelled)[:MAP_POINTS])
    features = np.nan_to_num(np.asarray(embeddings[rows], dtype=np.float32))
    if len(rows) < 3 or not features.std(axis=0).any():
        return None
    places, name = flatten_space(features)
    labels = votes.label[rows]

    def agreement(space: np.ndarray) -> float:
        near = NearestNeighbors(n_neighbors=1).fit(space).kneighbors(return_distance=False)[:, 0]
        return float((labels[near] == labels).mean())

    wrong = votes.wrong(method)[rows] if method else np.zeros(len(rows), dtype=bool)
    texts = example_texts(test, rows) if test is not None else [""] * len(rows)
    titles = [
        f"{classes[label]}{', missed' if missed else ''}\n{text}".strip()
        for label, missed, text in zip(labels, wrong, texts, strict=True)
    ]
    return {
        "figure": figures.scatter(places, labels, classes, wrong, titles),
        "method": name,
        "points": len(rows),
        "rows": len(embeddings),
        "dimensions": embeddings.shape[1],
        "full": agreement(features),
        "flat": agreement(places),
        "classes": [(int(c), classes[c], figures.class_colour(int(c), len(classes))) for c in np.unique(labels)],
        "missed": method is not None,
    }


def flatten_space(features: np.ndarray) -> tuple[np.ndarray, str]:
    """(N, D) -> (N, 2) and the name of the projection."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    parts = PCA(min(30, *features.shape), random_state=0).fit_transform(features)
    parts = np.pad(parts, ((0, 0), (0, max(0, 2 - parts.shape[1]))))
    if len(features) < 30:
        return parts[:, :2], "PCA"
    # Started from the principal components as scikit-learn's own `pca` start is, scaled to a spread of 1e-4.
    start = (parts[:, :2] / parts[:, 0].std() * 1e-4).astype(np.float32)
    # 400 steps instead of 1000: the layout of so few points hardly changes after that.
    tsne = TSNE(init=start, perplexity=min(30, len(features) / 4), max_iter=400, random_state=0)
    # rotated so that the longer side lies across the page
    return PCA(2, random_state=0).fit_transform(tsne.fit_transform(parts)), "t-SNE"
