import math

import pytest
import torch

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.engine.readout import encode_rows
from warmstart.ingredients import build
from warmstart.probes.singular_spectrum import spectrum


@pytest.mark.faithful("nmtune")
def test_entropy_and_dominance_of_known_singular_values():
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.double))[0]
    found = spectrum(torch.diag(torch.tensor([6.0, 3.0, 1.0], dtype=torch.double)) @ turn)
    assert found["lsvr"] == pytest.approx(-math.log(0.6))
    assert found["entropy"] == pytest.approx(-sum(p * math.log(p) for p in (0.6, 0.3, 0.1)))


@pytest.mark.faithful("nmtune")
def test_equal_values_have_the_largest_entropy_and_one_value_none():
    assert spectrum(torch.eye(5))["entropy"] == pytest.approx(math.log(5))
    single = spectrum(torch.ones(4, 3))
    assert (single["entropy"], single["lsvr"]) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))


def test_measures_the_rows_that_it_is_told(model, make_images):
    data = Splits(train=make_images([0, 1] * 6, ("a", "b")), test=make_images([0, 1] * 4, ("a", "b"), seed=1))
    found = build("probes", {"singular_spectrum": {"unit": False}}).measure(Cast(model), data)
    assert found == spectrum(encode_rows(model, data.test).features)
    rows = torch.nn.functional.normalize(encode_rows(model, data.train).features, dim=1)
    found = build("probes", {"singular_spectrum": {"rows": "train"}}).measure(Cast(model), data)
    assert found["lsvr"] == pytest.approx(spectrum(rows)["lsvr"])
    with pytest.raises(LookupError, match="no shifted rows"):
        build("probes", {"singular_spectrum": {"rows": "shifted"}}).measure(Cast(model), data)


def test_follows_metrics_along_the_grid():
    runs = [{"changes": {"data.world.label_noise": x}, "metrics": {"s.lsvr": 1 + 3 * x}} for x in (0, 0.1, 0.3)]
    found = build("probes", {"singular_spectrum": {"over": ["s.lsvr"]}}).across(runs)
    assert found == {"mean.s.lsvr": pytest.approx(1.4), "slope.s.lsvr": pytest.approx(3.0)}
    with pytest.raises(LookupError, match="no metric 'accuracy'; it has: s.lsvr"):
        build("probes", {"singular_spectrum": {"over": ["accuracy"]}}).across(runs)
    two = [{"changes": {"a": 1, "b": 2}, "metrics": {}}]
    with pytest.raises(ValueError, match="one path of the grid"):
        build("probes", "singular_spectrum").across(two)
