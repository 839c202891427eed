"""Draws by counter."""

import torch

from warmstart.engine.randomness import normal, uniform

ROWS = torch.tensor([0, 7, 3, 123456789])


def test_a_row_draws_the_same_in_any_batch():
    whole = uniform(1, 500, ROWS, 3, 2, stream=4)
    assert whole.shape == (4, 3, 2)
    assert (uniform(1, 500, ROWS[2:], 3, 2, stream=4) == whole[2:]).all()


def test_seed_step_row_and_stream_each_change_the_draw():
    base = uniform(1, 5, ROWS, 8)
    for other in (
        uniform(2, 5, ROWS, 8),
        uniform(1, 6, ROWS, 8),
        uniform(1, 5, ROWS + 1, 8),
        uniform(1, 5, ROWS, 8, stream=1),
    ):
        assert (other != base).float().mean() > 0.9


def test_every_step_of_a_long_run_can_draw():
    for step in (0, 1, 10**6, 2**40):
        assert uniform(0, step, ROWS, 1).isfinite().all()


def test_draws_are_uniform_and_normal():
    rows = torch.arange(20000)
    u, z = uniform(0, 3, rows, 2), normal(0, 3, rows, 2)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(u.var() - 1 / 12) < 0.002
    assert abs(z.mean()) < 0.02
    assert abs(z.var() - 1) < 0.03
    assert abs(torch.corrcoef(u.T)[0, 1]) < 0.03


def test_neighbouring_rows_steps_streams_and_seeds_draw_unrelated_numbers():
    rows = torch.arange(20000)
    base = uniform(0, 3, rows, 1)[:, 0]
    others = (
        uniform(0, 3, rows + 1, 1),
        uniform(0, 4, rows, 1),
        uniform(1, 3, rows, 1),
        uniform(0, 3, rows, 1, stream=1),
        uniform(0, 3, rows, 2)[:, 1:],
    )
    for other in others:
        assert abs(torch.corrcoef(torch.stack([base, other[:, 0]]))[0, 1]) < 0.03


def test_every_part_of_the_range_is_drawn_equally_often():
    counts = torch.histc(uniform(0, 0, torch.arange(4096), 25), bins=64, min=0, max=1)
    expected = counts.sum() / 64
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # 63 degrees of freedom: mean 63, standard deviation 11.2.
    assert 25 < chi_square < 115
