"""The best entries of several weights together, and SPT's allocation on an example counted by hand."""

import pytest
import torch

from warmstart.engine.sparsity import allocate, top_entries


def places(found):
    return [part.tolist() for part in found]


def test_the_largest_of_all_weights_together_in_their_order():
    scores = torch.tensor([5.0, 1.0, 4.0, 0.0, 3.0, 3.0])
    assert places(top_entries(scores, [2, 4], 3)) == [[0], [0, 2]]
    assert places(top_entries(scores, [2, 4], 0)) == [[], []]


@pytest.mark.faithful("spt")
def test_many_entries_become_a_low_rank_matrix_and_a_fifth_of_a_vector_all_of_it():
    # A matrix of 40 whose ten best stand first, a matrix of 40 with one good entry, a vector of 10 with two.
    first = torch.cat([torch.arange(100.0, 90.0, -1), torch.zeros(30)])
    second = torch.zeros(40)
    second[7] = 95.5
    vector = torch.zeros(10)
    vector[[2, 3]] = torch.tensor([99.5, 98.5])
    scores, sizes, matrices = torch.cat([first, second, vector]), [40, 40, 10], [12, 12, None]
    # P / ratio = 6: of the eight best five stand in the first matrix, of the ten best six.
    chosen, low_rank = allocate(scores, sizes, matrices, budget=16, ratio=2)
    assert low_rank == []
    assert places(chosen) == [[0, 1, 2, 3, 4], [7], list(range(10))]
    chosen, low_rank = allocate(scores, sizes, matrices, budget=23, ratio=2)
    assert low_rank == [0]
    assert places(chosen) == [[], [7], list(range(10))]


def test_never_spends_more_than_the_budget():
    generator = torch.Generator().manual_seed(0)
    scores, sizes, matrices = torch.rand(3000, generator=generator), [1000, 1900, 100], [200, 250, None]
    for budget in (50, 250, 600):
        chosen, low_rank = allocate(scores, sizes, matrices, budget, ratio=10)
        spent = sum(len(part) for part in chosen) + sum(matrices[i] for i in low_rank)
        assert 0.6 * budget <= spent <= budget
