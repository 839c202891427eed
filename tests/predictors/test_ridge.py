import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as Peer

from warmstart.engine.examples import Examples
from warmstart.engine.solvers.scaling import center_and_scale
from warmstart.predictors.ridge import Ridge


@pytest.fixture(params=[12, 80], ids=["more rows than features", "fewer"])
def rows(request):
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 4
    features = torch.randn(40, request.param, generator=g) + torch.randn(4, request.param, generator=g)[labels]
    return Examples(features, labels), Examples(names=tuple("abcd"))


@pytest.mark.parametrize("scaling", ["unit", "standard"])
def test_equals_sklearn_on_one_hot_labels(rows, scaling):
    train, classes = rows
    scaled = center_and_scale(train.features, scaling)[0].double().numpy()
    peer = Peer(alpha=0.7).fit(scaled, np.eye(4)[train.labels])
    found = Ridge(0.7, scaling, scale=1.0).fit(train, classes).scores(train)
    np.testing.assert_allclose(found.numpy(), peer.predict(scaled), atol=2e-5)


@pytest.mark.parametrize("count", [5, 40], ids=["folds", "leave one out"])
def test_closed_form_cross_validation_equals_refitting(rows, count):
    train, classes = rows
    folds = torch.arange(40) // 4 % count if count == 5 else torch.arange(40)
    found = Ridge.cross_validate([{"strength": 0.5, "scale": 1.0}], train, classes, folds)[0]
    scaled = center_and_scale(train.features, "unit")[0].double().numpy()
    for fold in range(count):
        seen = (folds != fold).numpy()
        peer = Peer(alpha=0.5).fit(scaled[seen], np.eye(4)[train.labels[seen]])
        np.testing.assert_allclose(found[~seen].numpy(), peer.predict(scaled[~seen]), atol=1e-4)
