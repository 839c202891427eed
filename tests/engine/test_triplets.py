"""Triplets of a tree: who is the odd one, and which level tells."""

import numpy as np
import pytest
import torch

from warmstart.engine.triplets import level_triplets, odd_logits, shared_levels, tree_judgments

# family, shape, colour
FACTORS = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 2, 0], [1, 2, 0]])


def test_the_two_most_alike_leave_the_third():
    near, also, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 1.0]]), torch.tensor([[-1.0, 1.0]])
    assert odd_logits(near, also, far).argmax() == 2
    assert odd_logits(far, near, also).argmax() == 0
    torch.testing.assert_close(odd_logits(near, also, far, "dot"), torch.tensor([[-2.0, -1.0, 3.0]]))


def test_levels_are_shared_from_the_coarsest_on():
    assert shared_levels(FACTORS[[0, 0, 0, 3]], FACTORS[[1, 2, 3, 4]]).tolist() == [2, 1, 0, 3]


@pytest.mark.faithful("alignet")
def test_judgments_follow_the_tree_and_ties_share():
    triplets = np.array([[0, 1, 2], [3, 0, 4], [0, 3, 2]])
    assert tree_judgments(FACTORS, triplets).tolist() == [[0, 0, 1], [0, 1, 0], [0, 1, 0]]
    same = np.zeros((3, 3), int)
    np.testing.assert_allclose(tree_judgments(same, np.array([[0, 1, 2]])), [[1 / 3] * 3])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_one_level_alone_tells_the_odd_one(level):
    generator = np.random.default_rng(0)
    factors = generator.integers(0, 3, (200, 3))
    factors[:, 1] += 3 * factors[:, 0]
    found = level_triplets(factors, level, 50, generator)
    assert found.shape == (50, 3)
    a, b, c = (factors[found[:, k]] for k in range(3))
    assert (a[:, : level + 1] == b[:, : level + 1]).all()
    if level < 2:
        assert (a[:, level + 1] != b[:, level + 1]).all()
    assert (a[:, :level] == c[:, :level]).all()
    assert (a[:, level] != c[:, level]).all()
