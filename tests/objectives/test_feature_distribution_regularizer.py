"""DR-Tune's calibration is the paper's formula, and the head alone learns from the frozen features."""

import numpy as np
import pytest
import torch
from tiny_models import tiny, tiny_rows  # noqa: F401

from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.ingredients import build
from warmstart.objectives.feature_distribution_regularizer import calibrated, rotation


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path))
    monkeypatch.setattr("warmstart.engine.features.best_precision", lambda: "no")


def turned(count=40, width=5, seed=0):
    """Points, a rotation, and the points after it."""
    torch.manual_seed(seed)
    points = torch.randn(count, width)
    turn = torch.linalg.qr(torch.randn(width, width))[0]
    turn[0] *= torch.linalg.det(turn)
    return points, turn


@pytest.mark.faithful("dr-tune")
def test_rotation_is_found_whatever_the_shift():
    points, turn = turned()
    found = rotation(points, points @ turn.T + 3)
    torch.testing.assert_close(found, turn, rtol=1e-4, atol=1e-4)


@pytest.mark.faithful("dr-tune")
def test_a_mirror_image_gives_a_rotation_all_the_same():
    points, _ = turned()
    mirror = torch.eye(5)
    mirror[0, 0] = -1
    assert torch.linalg.det(rotation(points, points @ mirror)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.faithful("dr-tune")
def test_calibration_equals_the_formula_written_row_by_row():
    torch.manual_seed(1)
    frozen, tuned, prototypes = torch.randn(6, 3), torch.randn(6, 3), torch.randn(2, 3)
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    p, d = frozen / frozen.norm(dim=1, keepdim=True), tuned / tuned.norm(dim=1, keepdim=True)
    turn = rotation(p, d)
    p = torch.stack([turn @ (row - p.mean(0)) + d.mean(0) for row in p])
    for c in (0, 1):
        rows = [k for k in range(6) if labels[k] == c]
        cosines = torch.stack([d[k] @ prototypes[c] / prototypes[c].norm() for k in rows])
        weights = cosines.exp() / cosines.exp().sum()
        middle = sum(weight * d[k] for weight, k in zip(weights, rows, strict=True))
        shift = middle - sum(p[k] for k in rows) / len(rows)
        for k in rows:
            p[k] = p[k] + shift
    p = p / p.norm(dim=1, keepdim=True)
    torch.testing.assert_close(calibrated(frozen, tuned, labels, prototypes, turn), p)


def prepared(model, **arguments):
    data, cast = Rows(model, tiny_rows("image")), Cast(model)
    torch.manual_seed(0)
    build("objectives", "cross_entropy").prepare(cast, data)
    with torch.no_grad():
        model.attached["head"].weight.normal_()
    objective = build("objectives", {"feature_distribution_regularizer": arguments})
    objective.prepare(cast, data)
    return objective, cast, data


@pytest.mark.faithful("dr-tune")
def test_uncalibrated_loss_is_the_heads_on_frozen_features_and_only_the_head_learns(tiny):  # noqa: F811
    model = tiny("vit").eval()
    objective, cast, data = prepared(model, calibrate=False)
    with torch.no_grad():
        features = model.encode(data.batch(np.arange(8))).pooled
    before = torch.nn.functional.cross_entropy(model.attached["head"](features), torch.tensor([0, 1] * 4))
    with torch.no_grad():
        model.tower().blocks[0].layernorm_before.weight.mul_(2)
    loss = objective.loss(cast, data.batch(np.arange(4)), Step(0, 2, 0))["feature_distribution"]
    assert loss.item() == pytest.approx(before.item(), rel=1e-4)
    loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        "attached.head.weight",
        "attached.head.bias",
    }


@pytest.mark.faithful("dr-tune")
def test_queues_hold_the_last_rows_once_with_both_features(tiny):  # noqa: F811
    model = tiny("vit").eval()
    objective, cast, data = prepared(model, queue=5)
    assert set(objective.state()) == {"rows_", "labels_", "frozen_", "tuned_", "rotation_"}
    start = objective.frozen_.clone()
    assert torch.equal(objective.tuned_, start)
    with torch.no_grad():
        model.tower().blocks[0].layernorm_before.weight.mul_(2)
    for rows in ([0, 1, 2], [2, 3, 4], [4, 5]):
        objective.loss(cast, data.batch(np.array(rows)), Step(0, 2, 0))
    assert objective.rows_.tolist()[-4:] == [2, 3, 4, 5]
    assert len(objective.rows_.unique()) == 5
    assert objective.labels_.tolist() == [row % 2 for row in objective.rows_.tolist()]
    assert not torch.allclose(objective.tuned_[-4:], objective.frozen_[-4:], atol=1e-3)


def test_calibrated_features_are_as_long_as_the_batchs(tiny):  # noqa: F811
    model = tiny("vit").eval()
    objective, cast, data = prepared(model)
    features = model.encode(data.batch(np.arange(8))).pooled.detach()
    found = objective._pretrained(features, objective.labels_, model.attached["head"].weight, Step(0, 1, 0))
    torch.testing.assert_close(found.norm(dim=1), features.norm(dim=1).mean().expand(8))


def test_needs_a_head(tiny):  # noqa: F811
    model = tiny("vit")
    with pytest.raises(ValueError, match="write cross_entropy before it"):
        build("objectives", "feature_distribution_regularizer").prepare(Cast(model), Rows(model, tiny_rows("image")))
