"""Shares of changed weights that two models have in common, counted by hand."""

import pytest
import torch
from torch import nn

from warmstart.engine.cast import Cast
from warmstart.models import load_model
from warmstart.probes.mask_overlap import MaskOverlap


class Map(nn.Module):
    image_size = 2

    def __init__(self, *weights):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(w) for w in weights]))

    def forward(self, pixels):
        return pixels.flatten(1)[:, : len(self.weight)] * self.weight


def cast_of(**models):
    return Cast(load_model(Map(0, 0, 0, 0, 0, 0)), **{name: load_model(Map(*w)) for name, w in models.items()})


@pytest.mark.faithful("skill-grafting")
def test_overlap_is_counted_over_the_first_ones_weights():
    cast = cast_of(base=(0, 0, 0, 0, 0, 0), a=(1, 2, 0, 0, 0, 0), b=(0, 5, 6, 7, 8, 0))
    report = MaskOverlap(["@a", "@b"], base="@base").measure(cast, None)
    assert report["overlap.0.1"] == 1 / 2
    assert report["overlap.1.0"] == 1 / 4
    assert report["mean"] == 3 / 8
    assert (report["share.0"], report["share.1"]) == (2 / 6, 4 / 6)
    assert report["chance"] == pytest.approx(1 / 2)


@pytest.mark.faithful("skill-grafting")
def test_with_a_share_the_largest_changes_are_marked():
    cast = cast_of(base=(0, 0, 0, 0, 0, 0), a=(9, -8, 1, 1, 1, 1), b=(1, 9, -9, 1, 1, 1))
    report = MaskOverlap(["a", "b"], base="base", share=1 / 3).measure(cast, None)
    assert report["overlap.0.1"] == report["overlap.1.0"] == 1 / 2


def test_says_what_cannot_be_compared():
    cast = cast_of(base=(0, 0, 0, 0, 0, 0), a=(1, 0, 0, 0, 0, 0), b=(0, 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="@b has all its weights in common with @base"):
        MaskOverlap(["a", "b"], base="base").measure(cast, None)
    with pytest.raises(ValueError, match="two models or more"):
        MaskOverlap(["a"])
