"""Which number format computes: bfloat16 where the hardware has it, float32 elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


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


@contextmanager
def inference(module: nn.Module, device: torch.device, precision: str | None = None) -> Iterator[None]:
    """Encode with fixed weights in this precision (the best by default), in evaluation mode, without gradients.

    On a CPU with bfloat16, the weights of linear layers are converted and laid out for its matrix unit once,
    where autocast does it for every batch. The weights themselves stay as they are.
    """
    modes = [(child, child.training) for child in module.modules()]
    low = (precision or best_precision()) == "bf16" and device.type == "cpu"
    laid_out = [layer for layer in module.modules() if _is_plain_linear(layer)] if low else []
    module.eval()
    try:
        with torch.inference_mode(), autocast(device, precision):
            for layer in laid_out:
                layer.forward = _laid_out(layer)
            yield
    finally:
        for layer in laid_out:
            vars(layer).pop("forward", None)
        for child, training in modes:
            child.training = training


def _is_plain_linear(layer: nn.Module) -> bool:
    return type(layer) is nn.Linear and "forward" not in vars(layer) and layer.weight.dtype == torch.float32


def _laid_out(layer: nn.Linear):
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().bfloat16())
    bias = None if layer.bias is None else layer.bias.detach().bfloat16()

    def forward(x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x.to(torch.bfloat16), weight, bias, "none", [], "")

    return forward
