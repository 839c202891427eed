"""Which tokens are hidden: how many, where, and by which draws."""

import pytest
import torch

from warmstart.engine.step import Step
from warmstart.schedules.ramp import Ramp
from warmstart.views.mask_sampler import MaskSampler


def tokens(rows=64, grid=(8, 8)):
    return {"modality": "image", "rows": torch.arange(rows), "grid": grid, "image": {"pixel_values": torch.zeros(rows)}}


@pytest.mark.parametrize("mode", ["random", "block"])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.75])
def test_kept_and_hidden_share_out_all_tokens(mode, ratio):
    seen = MaskSampler(mode, ratio).view(tokens(), Step(3, 9, 1))
    kept, hidden = seen["image"]["keep_tokens"], seen["hidden"]
    assert hidden.shape == (64, 64 - int(64 * (1 - ratio)))
    assert (torch.cat([kept, hidden], 1).sort(1).values == torch.arange(64)).all()


def test_random_hides_every_place_equally_often():
    hidden = MaskSampler(ratio=0.5).view(tokens(4000), Step())["hidden"]
    share = torch.bincount(hidden.flatten(), minlength=64) / 4000
    assert (share - 0.5).abs().max() < 0.04


def test_one_block_is_a_rectangle():
    hidden = MaskSampler("block", ratio=0.25).view(tokens(500), Step())["hidden"]
    places = torch.zeros(500, 64, dtype=torch.bool).scatter(1, hidden, True).view(500, 8, 8)
    # A hidden place with a hidden neighbour above or to the left: most of a rectangle, few of scattered places.
    beside = (places[:, 1:] & places[:, :-1]).sum() + (places[:, :, 1:] & places[:, :, :-1]).sum()
    scattered = MaskSampler("random", ratio=0.25).view(tokens(500), Step())["hidden"]
    places = torch.zeros(500, 64, dtype=torch.bool).scatter(1, scattered, True).view(500, 8, 8)
    at_random = (places[:, 1:] & places[:, :-1]).sum() + (places[:, :, 1:] & places[:, :, :-1]).sum()
    assert beside > 2.5 * at_random


def test_a_row_draws_by_seed_step_row_and_draw_alone():
    view, batch = MaskSampler(), tokens()
    hidden = view.view(batch, Step(3, 9, 1))["hidden"]
    part = {**batch, "rows": batch["rows"][10:20], "image": {}}
    assert (view.view(part, Step(3, 9, 1))["hidden"] == hidden[10:20]).all()
    for other in (view.view(batch, Step(4, 9, 1)), view.view(batch, Step(3, 9, 2)), view.view(batch, Step(3, 9, 1), 1)):
        assert (other["hidden"] != hidden).any()
    assert "keep_tokens" not in batch["image"], "the given batch is left alone"


def test_the_ratio_may_be_a_schedule():
    view = MaskSampler(ratio=Ramp(0.25, 0.75))
    assert view.view(tokens(), Step(0, 10))["hidden"].shape[1] == 16
    assert view.view(tokens(), Step(9, 10))["hidden"].shape[1] == 48


def test_impossible_masks_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        MaskSampler(ratio=1.0).view(tokens(), Step())
    with pytest.raises(ValueError, match="`random` or `block`"):
        MaskSampler("tube")
