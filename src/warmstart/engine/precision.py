"""Which number format computes: bfloat16 where the hardware has it, float32 elsewhere."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext

import torch


@functools.cache
def best_precision() -> str:
    """`bf16` where this machine multiplies in bfloat16, else `no` (float32): accelerate's names."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "no"


def autocast(device: torch.device, precision: str | None = None) -> AbstractContextManager:
    if (precision or best_precision()) == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
