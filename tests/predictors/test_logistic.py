import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from warmstart.engine.examples import Examples
from warmstart.engine.solvers.scaling import center_and_scale
from warmstart.predictors.logistic import Logistic


@pytest.fixture
def rows():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 5
    features = torch.randn(60, 16, generator=g) + torch.randn(5, 16, generator=g)[labels] + 2
    return Examples(features, labels), Examples(names=tuple("abcde"))


@pytest.mark.parametrize("scaling", ["unit", "standard"])
@pytest.mark.parametrize("C", [0.3, 30.0])
def test_equals_sklearn_for_the_same_C(rows, C, scaling):
    train, classes = rows
    scaled, _, _ = center_and_scale(train.features.double(), scaling)
    peer = LogisticRegression(C=C, tol=1e-10, max_iter=5000).fit(scaled.numpy(), train.labels.numpy())
    found = Logistic(C, scaling).fit(train, classes).scores(train).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), peer.predict_proba(scaled.numpy()), atol=3e-3)


def test_row_weight_two_equals_the_row_twice(rows):
    train, classes = rows
    twice = torch.where(train.labels == 0, 2.0, 1.0)
    scaled, _, _ = center_and_scale(train.features.double(), "unit")
    peer = LogisticRegression(C=3, tol=1e-10, max_iter=5000)
    peer.fit(scaled.numpy(), train.labels.numpy(), sample_weight=twice.numpy())
    weighted = Examples(train.features, train.labels, weights=twice)
    found = Logistic(3.0).fit(weighted, classes).scores(train).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), peer.predict_proba(scaled.numpy()), atol=3e-3)


def test_out_of_fold_scores_come_from_models_that_did_not_see_the_row(rows):
    train, classes = rows
    folds = torch.arange(60) // 5 % 4
    configurations = [{"C": 10.0, "scaling": "unit"}, {"C": 1.0, "scaling": "standard"}]
    found = Logistic.cross_validate(configurations, train, classes, folds).softmax(dim=2)
    for i, c in enumerate(configurations):
        scaled = center_and_scale(train.features.double(), c["scaling"])[0].numpy()
        for fold in range(4):
            seen = (folds != fold).numpy()
            peer = LogisticRegression(C=c["C"], tol=1e-9, max_iter=5000).fit(scaled[seen], train.labels[seen])
            np.testing.assert_allclose(found[i, ~seen].numpy(), peer.predict_proba(scaled[~seen]), atol=0.06)
