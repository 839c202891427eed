"""Triplets of rows, judged by which is the odd one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import torch

from ..data.dataset import DataError, Dataset
from ..engine.cast import Cast
from ..engine.readout import encode_rows
from ..engine.triplets import factors_of, odd_logits, tree_judgments
from . import Curator


class MineTriplets(Curator):
    """Three rows a row: two of one cluster and one of another, with how likely each is the odd one.

    source `clusters`: k-means of the judge's features; in a share `within` of the triplets all three are of one
        cluster, in the others the first two are of one and the third of another.
    source `uniform`: any three rows.
    judgment (3,): softmax_o( cos of the two beside o / temperature ) of the judge's features, or, with `tree`, 1 for
        the one that shares least levels with the others (ties share); with a chance `noise` any of the three instead.

    count: triplets. clusters: k. judge: a member of the cast, such as "@teacher"; None for the model.
    tree: roles from coarse to fine that stand for human judgments; None for the judge's own.
    role: the input; None for the rows' own. The result has it three times, as ROLE, ROLE_2 and ROLE_3, and `judgment`.
    Raises ValueError where rows or clusters are too few, DataError where a role of the tree is missing.
    Source: Muttenthaler et al. 2024 (AligNet, arXiv 2409.06509), ImageNet in superordinate clusters.
    Differs from the paper: k-means of unit features, and cosines.
    """

    def __init__(
        self,
        count: int = 1000,
        source: Literal["clusters", "uniform"] = "clusters",
        clusters: int = 8,
        within: float = 0.0,
        judge: str | None = None,
        tree: Sequence[str] | None = None,
        temperature: float = 0.1,
        noise: float = 0.0,
        role: str | None = None,
    ):
        if source not in ("clusters", "uniform"):
            raise ValueError(f"source is `clusters` or `uniform`, not {source!r}")
        if count < 1 or clusters < 2 or temperature <= 0:
            raise ValueError(
                f"count is 1 or more, clusters 2 or more, temperature above 0, not {count}, {clusters}, {temperature}"
            )
        if not 0 <= within <= 1 or not 0 <= noise <= 1:
            raise ValueError(f"within and noise are shares from 0 to 1, not {within} and {noise}")
        self.count, self.source, self.clusters, self.within = count, source, clusters, within
        self.judge, self.tree, self.temperature, self.noise, self.role = judge, tree, temperature, noise, role

    def curate(self, data: Dataset, cast: Cast, seed: int) -> Dataset:
        if len(data) < 3:
            raise ValueError(f"{data.name}: a triplet needs 3 rows, and there are {len(data)}")
        generator = np.random.default_rng(seed)
        features = None
        if self.source == "clusters" or self.tree is None:
            found = encode_rows(cast[self.judge or "model"], data).features
            features = torch.nn.functional.normalize(found, dim=1)
        if self.source == "uniform":
            triplets = _uniform(len(data), self.count, generator)
        else:
            triplets = _from_clusters(self._clustered(features, seed), self.count, self.within, generator)
        judged = self._judged(data, features, triplets, generator)
        return _table(data, self.role or data.input_role, triplets, judged)

    def _clustered(self, features: torch.Tensor, seed: int) -> np.ndarray:
        """(N,) the cluster of each row."""
        from sklearn.cluster import KMeans

        if len(features) < self.clusters:
            raise ValueError(f"{self.clusters} clusters of {len(features)} rows: give more rows or fewer clusters")
        return KMeans(self.clusters, n_init=3, random_state=seed % 2**32).fit_predict(features.numpy())

    def _judged(self, data, features, triplets: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if self.tree is not None:
            judged = tree_judgments(factors_of(data, self.tree), triplets)
        else:
            logits = odd_logits(*(features[triplets[:, k]] for k in range(3)))
            judged = (logits / self.temperature).softmax(1).numpy()
        wrong = generator.random(len(triplets)) < self.noise
        anyone = np.eye(3)[generator.integers(3, size=len(triplets))]
        return np.where(wrong[:, None], anyone, judged).astype(np.float32)


def _uniform(rows: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, 3) different rows."""
    return np.stack([generator.choice(rows, 3, replace=False) for _ in range(count)])


def _from_clusters(cluster: np.ndarray, count: int, within: float, generator: np.random.Generator) -> np.ndarray:
    """(count, 3) rows: the first two of one cluster, the third of another or, in a share of them, of the same."""
    members = [np.flatnonzero(cluster == k) for k in np.unique(cluster)]
    pairs, triples = [m for m in members if len(m) >= 2], [m for m in members if len(m) >= 3]
    if len(members) < 2 or not pairs or (within and not triples):
        raise ValueError(f"{len(members)} clusters are too few, or have too few rows, to draw triplets from")
    found = []
    for inside in generator.random(count) < within:
        if inside:
            found.append(generator.choice(triples[generator.integers(len(triples))], 3, replace=False))
            continue
        own = pairs[generator.integers(len(pairs))]
        other = np.flatnonzero(cluster != cluster[own[0]])
        found.append(np.append(generator.choice(own, 2, replace=False), generator.choice(other)))
    return np.stack(found)


def _table(data: Dataset, role: str, triplets: np.ndarray, judged: np.ndarray) -> Dataset:
    kind = data.roles.get(role)
    if kind is None:
        raise DataError(f"{data.name}: no column {role!r}; it has: {', '.join(data.roles)}")
    names = (role, f"{role}_2", f"{role}_3")
    columns = {name: data.table[role].take(pa.array(triplets[:, k])) for k, name in enumerate(names)}
    columns["judgment"] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(judged))
    roles = {name: kind for name in names} | {"judgment": "judgment"}
    return Dataset(pa.table(columns), roles, (), f"triplets of {data.name}")
