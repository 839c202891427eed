"""NMTune's three terms by hand, and features kept from before the training."""

import numpy as np
import pytest
import torch
from tiny_models import tiny, tiny_rows  # noqa: F401

from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.ingredients import build
from warmstart.objectives.spectral_feature_regularizer import correlation, dominance, kept


@pytest.mark.faithful("nmtune")
def test_kept_directions_cost_nothing_and_opposite_ones_four():
    before = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    now = torch.tensor([[5.0, 0.0], [0.0, 3.0], [0.0, -1.0]])
    torch.testing.assert_close(kept(before, now), torch.tensor([0.0, 2.0, 4.0]))


@pytest.mark.faithful("nmtune")
def test_correlation_is_the_covariances_off_the_diagonal():
    torch.manual_seed(0)
    z = torch.randn(7, 3)
    covariance = np.cov(z.numpy(), rowvar=False)
    expected = sum(covariance[a, b] ** 2 for a in range(3) for b in range(3) if a != b) / 3
    assert correlation(z).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.faithful("nmtune")
def test_dominance_is_the_share_of_the_largest_singular_value():
    z = torch.diag(torch.tensor([6.0, 3.0, 1.0]))
    assert dominance(z).item() == pytest.approx(0.6)


@pytest.mark.faithful("nmtune")
def test_terms_are_of_the_features_now_and_before(tiny, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path))
    monkeypatch.setattr("warmstart.engine.features.best_precision", lambda: "no")
    model = tiny("vit").eval()
    data, cast = Rows(model, tiny_rows("image")), Cast(model)
    objective = build("objectives", {"spectral_feature_regularizer": {"spread": 2.0, "dominate": 3.0}})
    objective.prepare(cast, data)
    batch = data.batch(np.arange(2, 7))
    before = model.encode(batch).pooled.detach()
    build("tuners", {"feature_adapter": {"residual": False}}).apply(model)
    terms = objective.loss(cast, batch, Step(0, 1, 0))
    now = model.encode(batch).pooled
    torch.testing.assert_close(terms["keep"], kept(before, now), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(terms["spread"], 2 * correlation(now))
    torch.testing.assert_close(terms["dominate"], -3 * dominance(now))
    sum(term.mean() for term in terms.values()).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None and "map" not in name} == set()
    held = Rows(model, tiny_rows("image")).batch(np.arange(4))
    with pytest.raises(ValueError, match="leave out validation"):
        objective.loss(cast, held, Step(0, 1, 0))


def test_terms_of_weight_zero_are_left_out(tiny):  # noqa: F811
    model = tiny("vit")
    data = Rows(model, tiny_rows("image"))
    objective = build("objectives", {"spectral_feature_regularizer": {"keep": 0, "spread": 0}})
    objective.prepare(Cast(model), data)
    assert list(objective.loss(Cast(model), data.batch(np.arange(4)), Step(0, 1, 0))) == ["dominate"]
