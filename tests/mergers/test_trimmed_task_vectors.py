"""Breadcrumbs equal what numpy computes; without trimming they are task arithmetic."""

import numpy as np
import pytest
import torch
from merging import arrays, assert_equal, fine_tunings, learner_over, with_head

from warmstart.engine.weights import weights_of
from warmstart.mergers.task_vectors import TaskVectors
from warmstart.mergers.trimmed_task_vectors import TrimmedTaskVectors


def pieces(tiny, count=2):
    model = with_head(tiny("vit"))
    base = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    return model, base, fine_tunings(model, count)


def trimmed(vector, low, high):
    order = np.argsort(np.abs(vector).ravel(), kind="stable")
    found = np.zeros(vector.size)
    kept = order[low : vector.size - high]
    found[kept] = vector.ravel()[kept]
    return found.reshape(vector.shape)


@pytest.mark.faithful("model-breadcrumbs")
def test_by_hand():
    base = {"w": torch.zeros(10)}
    tuned = {"w": torch.tensor([1.0, -9.0, 2.0, -3.0, 10.0, 4.0, -5.0, 6.0, 7.0, -8.0])}
    merger = TrimmedTaskVectors(beta=0.5, gamma=0.8, scale=0.5)
    found = merger.merge(base, [tuned], None)["w"]
    # 1 to 5 are noise, 9 and 10 outliers.
    assert found.tolist() == [0, 0, 0, 0, 0, 0, 0, 3.0, 3.5, -4.0]
    assert merger.report() == {"scale": 0.5, "kept": 0.3}


@pytest.mark.faithful("model-breadcrumbs")
def test_every_tensor_loses_its_smallest_and_largest_changes(tiny):
    _, base, others = pieces(tiny)
    found = TrimmedTaskVectors(beta=0.85, gamma=0.99, scale=0.4).merge(base, others, None)
    start, tuned = arrays(base), [arrays(one) for one in others]
    cut = {n: (int(0.85 * t.size + 1e-6), int(0.01 * t.size + 1e-6)) for n, t in start.items()}
    expected = {n: t + 0.4 * sum(trimmed(one[n] - t, *cut[n]) for one in tuned) for n, t in start.items()}
    assert_equal(found, expected)


@pytest.mark.faithful("model-breadcrumbs")
def test_without_trimming_it_is_task_arithmetic(tiny):
    _, base, others = pieces(tiny)
    found = TrimmedTaskVectors(beta=0, gamma=1, scale=0.3).merge(base, others, None)
    assert_equal(found, arrays(TaskVectors(0.3).merge(base, others, None)))


def test_global_trimming_ranks_over_all_tensors():
    base = {"small": torch.zeros(4), "large": torch.zeros(4)}
    tuned = {"small": torch.tensor([0.1, 0.2, 0.3, 0.4]), "large": torch.tensor([1.0, -2.0, 3.0, -4.0])}
    found = TrimmedTaskVectors(beta=0.5, gamma=0.875, within="model", scale=1.0).merge(base, [tuned], None)
    assert found["small"].tolist() == [0, 0, 0, 0]
    assert found["large"].tolist() == [1.0, -2.0, 3.0, 0]


@pytest.mark.faithful("model-breadcrumbs")
def test_scale_found_on_the_first_models_is_kept_for_all(tiny):
    model, base, others = pieces(tiny, count=3)
    learner = learner_over(model)
    name = "attached.head.bias"
    vectors = [one[name] - base[name] for one in others]
    judged = []

    def validate():
        moved = model.attached["head"].bias - base[name]
        judged.append(moved.clone())
        return -abs((moved / sum(vectors[:2])).mean().item() - 0.5)

    learner.validate = validate
    merger = TrimmedTaskVectors(beta=0, gamma=1, search=[0.2, 0.4, 0.8], search_models=2)
    found = merger.merge(base, others, learner)
    assert merger.report()["scale"] == 0.4
    torch.testing.assert_close(judged[0], 0.2 * sum(vectors[:2]))
    torch.testing.assert_close(found[name], base[name] + 0.4 * sum(vectors))


@pytest.mark.parametrize("arguments", [{"beta": 0.9, "gamma": 0.8}, {"gamma": 1.2}, {"search": []}])
def test_refuses_what_it_cannot_mean(arguments):
    with pytest.raises(ValueError, match="beta|search"):
        TrimmedTaskVectors(**arguments)
