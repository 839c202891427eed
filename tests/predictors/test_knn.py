import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from warmstart.engine.examples import Examples
from warmstart.predictors.knn import Knn


@pytest.fixture
def rows():
    g = torch.Generator().manual_seed(0)
    train = Examples(torch.randn(50, 6, generator=g), torch.randint(0, 4, (50,), generator=g))
    return train, Examples(names=tuple("abcd")), Examples(torch.randn(30, 6, generator=g))


@pytest.mark.parametrize("k", [1, 5, 20])
def test_plain_votes_equal_sklearn(rows, k):
    train, classes, queries = rows
    peer = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(train.features, train.labels)
    probabilities = Knn(k, temperature=None).fit(train, classes).scores(queries).softmax(dim=1)
    votes = (probabilities * (k + 1) - 1 / 4) / k
    np.testing.assert_allclose(votes.numpy(), peer.predict_proba(queries.features), atol=1e-5)


def test_votes_weigh_by_temperature(rows):
    train, classes, queries = rows
    unit = torch.nn.functional.normalize
    cosine = unit(queries.features) @ unit(train.features).T
    near = cosine.topk(7, dim=1)
    wanted = torch.zeros(30, 4)
    for row in range(30):
        for value, index in zip(near.values[row], near.indices[row], strict=True):
            wanted[row, train.labels[index]] += (value / 0.07).exp()
    wanted /= wanted.sum(dim=1, keepdim=True)
    probabilities = Knn(7, temperature=0.07).fit(train, classes).scores(queries).softmax(dim=1)
    torch.testing.assert_close((probabilities * 8 - 1 / 4) / 7, wanted, rtol=1e-4, atol=1e-5)


def test_blocks_of_queries_change_nothing(rows, monkeypatch):
    train, classes, queries = rows
    whole = Knn().fit(train, classes).scores(queries)
    monkeypatch.setattr("warmstart.engine.solvers.similarity.ENTRIES", 150)
    torch.testing.assert_close(Knn().fit(train, classes).scores(queries), whole)
