"""How much of the neighbourhoods of the start model is gone."""

import pytest
import torch

from warmstart.engine.forgetting import neighbour_forgetting


def features(rows: int = 200, width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_nothing_is_forgotten_where_directions_only_turn_or_scale():
    before = features()
    turned = before @ torch.linalg.qr(features(16, 16, 1))[0]
    assert neighbour_forgetting(before, before) == 0
    assert neighbour_forgetting(before, 7 * turned) == pytest.approx(0, abs=1e-3)


def test_unrelated_features_forget_all_but_chance():
    found = neighbour_forgetting(features(), features(seed=1), k=10)
    assert found == pytest.approx(1 - 10 / 199, abs=0.02)


def test_the_share_of_lost_neighbours_is_counted():
    angles = torch.tensor([0.0, 0.1, 0.3, 2.0, 2.2])
    before = torch.stack([angles.cos(), angles.sin()], 1)
    moved = torch.tensor([0.0, 1.9, 0.3, 2.0, 2.2])
    after = torch.stack([moved.cos(), moved.sin()], 1)
    # Nearest one before: 1, 0, 1, 4, 3. After: 2, 3, 0, 1, 3.
    assert neighbour_forgetting(before, after, k=1) == pytest.approx(4 / 5)


def test_more_forgetting_for_more_noise():
    before = features()
    found = [neighbour_forgetting(before, before + noise * features(seed=2)) for noise in (0.1, 0.5, 2.0)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_widths_may_differ_and_few_rows_forget_nothing():
    before = features(50)
    assert neighbour_forgetting(before, torch.cat([before, torch.zeros(50, 4)], 1)) == pytest.approx(0)
    assert neighbour_forgetting(before[:1], before[:1]) == 0
