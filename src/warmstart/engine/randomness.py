"""Random numbers by counter: what a row draws at a step depends on nothing but seed, step and row.

So a view looks the same whatever else is in the batch, however many processes share it, and after a resume.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Constants of splitmix64 (Steele, Lea and Flood 2014), as signed 64-bit integers.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift of int64, which torch's `>>` does arithmetically."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def uniform(seed: int, step: int, rows: Tensor, *shape: int, stream: int = 0) -> Tensor:
    """(B, *shape) float32 in [0, 1), one independent draw a row.

    rows: (B,) int64 identities of the rows. stream: tells apart several draws for the same row and step.
    """
    count = math.prod(shape)
    key = _mix(torch.tensor([seed * 1_000_003 + stream], dtype=torch.int64) + _GOLDEN)
    key = _mix(key + torch.tensor([step + 1]) * _GOLDEN)
    per_row = _mix(key + (rows.cpu().long() + 1) * _GOLDEN).unsqueeze(1)
    bits = _mix(per_row + torch.arange(1, count + 1, dtype=torch.int64) * _GOLDEN)
    return (_shift_right(bits, 40).float() / (1 << 24)).view(len(rows), *shape).to(rows.device)


def normal(seed: int, step: int, rows: Tensor, *shape: int, stream: int = 0) -> Tensor:
    """(B, *shape) float32 standard normal draws, by Box-Muller."""
    u = uniform(seed, step, rows, 2, *shape, stream=stream)
    return (-2 * torch.log1p(-u[:, 0])).sqrt() * torch.cos(2 * math.pi * u[:, 1])
