import torch

from warmstart.engine.examples import Examples
from warmstart.predictors.feature_cache import FeatureCache


def rows():
    g = torch.Generator().manual_seed(0)
    train = Examples(torch.randn(12, 6, generator=g), torch.arange(12) % 3)
    queries = Examples(torch.randn(9, 6, generator=g))
    return train, queries, Examples(torch.randn(3, 6, generator=g), names=("a", "b", "c"))


def test_equals_tip_adapters_formula():
    train, queries, classes = rows()
    unit = torch.nn.functional.normalize
    affinity = unit(queries.features) @ unit(train.features).T
    votes = (-(5.5 - 5.5 * affinity)).exp() @ torch.eye(3)[train.labels]
    wanted = 100 * unit(queries.features) @ unit(classes.features).T + 2 * votes
    found = FeatureCache(beta=5.5, alpha=2.0, scale=100.0).fit(train, classes).scores(queries)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_without_texts_probabilities_are_shares_of_the_votes():
    train, queries, classes = rows()
    unit = torch.nn.functional.normalize
    votes = (5.5 * (unit(queries.features) @ unit(train.features).T - 1)).exp() @ torch.eye(3)[train.labels]
    found = FeatureCache(beta=5.5).fit(train, Examples(names=classes.names)).scores(queries)
    torch.testing.assert_close(found.softmax(dim=1), votes / votes.sum(dim=1, keepdim=True))
