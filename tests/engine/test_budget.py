"""What a run costs."""

import sys

import numpy as np
import pytest
import torch

from warmstart.engine.budget import PeakMemory

linux_cpu = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="the peak is reset and read in Linux's /proc"
)


@linux_cpu
def test_the_peak_sees_what_was_freed_again():
    memory = PeakMemory()
    start = memory.megabytes()
    block = np.ones(100_000_000, np.uint8)
    del block
    assert 90 < memory.megabytes() - start < 130


@linux_cpu
def test_a_later_budget_does_not_see_earlier_peaks():
    before = PeakMemory()
    block = np.ones(200_000_000, np.uint8)
    del block
    earlier = before.megabytes()
    assert PeakMemory().megabytes() < earlier - 150
