"""Odd-one-out choices by the similarity of features, against hard, soft and a teacher's judgments."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import tiny, tiny_rows  # noqa: F401

from warmstart.data.dataset import DataError, Dataset
from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.ingredients import build

SOFT = np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]], np.float32)


def triplets(judgment):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    names = ("image", "image_2", "image_3")
    columns = {name: pa.FixedShapeTensorArray.from_numpy_ndarray(pixels[k::3]) for k, name in enumerate(names)}
    roles = dict.fromkeys(names, "image")
    return Dataset(pa.table({**columns, "judgment": judgment}), roles | {"judgment": "judgment"})


def measured(model, judgment, members=None, **arguments):
    data, cast = Rows(model, triplets(judgment)), Cast(model, **(members or {}))
    objective = build("objectives", {"odd_one_out": arguments})
    objective.prepare(cast, data)
    batch = data.batch(np.arange(2))
    with torch.no_grad():
        features = [model.tower().encode(batch[key]).pooled for key in ("image", "image_2", "image_3")]
    return objective.loss(cast, batch, Step(0, 1, 0))["odd_one_out"], features


def by_hand(features, q, temperature, similarity):
    """KL(q || p) row by row."""
    found = []
    for row in range(len(q)):
        a, b, c = (one[row] / (one[row].norm() if similarity == "cosine" else 1) for one in features)
        p = torch.stack([b @ c, a @ c, a @ b]).div(temperature).softmax(0)
        found.append(sum(q[row][o] * np.log(q[row][o] / p[o].item()) for o in range(3) if q[row][o] > 0))
    return torch.tensor(found, dtype=torch.float32)


@pytest.mark.faithful("alignet")
@pytest.mark.parametrize(("similarity", "temperature"), [("cosine", 0.1), ("dot", 20.0)])
def test_loss_is_the_divergence_from_the_judgments(tiny, similarity, temperature):  # noqa: F811
    soft = pa.FixedShapeTensorArray.from_numpy_ndarray(SOFT)
    loss, features = measured(tiny("vit").eval(), soft, similarity=similarity, temperature=temperature)
    torch.testing.assert_close(loss, by_hand(features, SOFT, temperature, similarity), rtol=1e-3, atol=1e-4)


@pytest.mark.faithful("alignet")
def test_a_hard_choice_is_cross_entropy_and_a_missing_one_counts_nothing(tiny):  # noqa: F811
    loss, features = measured(tiny("vit").eval(), pa.array([1, -1]))
    one = by_hand(features, np.array([[0, 1, 0]]), 0.1, "cosine")
    torch.testing.assert_close(loss, torch.cat([one, torch.zeros(1)]), rtol=1e-3, atol=1e-4)


@pytest.mark.faithful("alignet")
def test_a_teacher_judges_instead_and_a_student_like_it_costs_nothing(tiny):  # noqa: F811
    model = tiny("vit").eval()
    teacher = copy.deepcopy(model)
    loss, _ = measured(model, pa.array([0, 0]), {"teacher": teacher}, teacher="teacher")
    torch.testing.assert_close(loss, torch.zeros(2), rtol=0, atol=1e-6)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    loss, _ = measured(model, pa.array([0, 0]), {"teacher": teacher}, teacher="teacher")
    assert (loss > 0).all()
    loss.sum().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_rows_that_are_no_triplets_are_refused(tiny):  # noqa: F811
    model = tiny("vit")
    with pytest.raises(DataError, match="three inputs a row"):
        build("objectives", "odd_one_out").prepare(Cast(model), Rows(model, tiny_rows("image")))
    with pytest.raises(DataError, match="no judgments 'verdict'"):
        measured(model, pa.array([0, 0]), judgments="verdict")
