"""Attention of short sequences on a CPU, while training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Measured with bf16 on a CPU with AMX: torch's fused kernel takes 8 times as long at 24 tokens (its backward
# pass), five times at 128, and half as long at 512.
_LONGEST = 256


class ShortAttention(TorchFunctionMode):
    """Inside this context, attention over short sequences is two matrix products and a softmax.

    softmax(q k^T / sqrt(D) + mask) v, the same function as `scaled_dot_product_attention`, whichever library
    calls it. Only what needs a gradient on a CPU, in bfloat16, is replaced: there the fused kernel's backward
    pass is several times slower. Everything else takes the fused kernel.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is nn.functional.scaled_dot_product_attention and _applies(*args, **kwargs):
            return _attention(*args, **kwargs)
        return function(*args, **kwargs)


def _applies(
    query: Tensor, key: Tensor, value: Tensor, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **other
) -> bool:
    low = query.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    return (
        query.device.type == "cpu"
        and low
        and key.shape[-2] <= _LONGEST
        and torch.is_grad_enabled()
        and (query.requires_grad or key.requires_grad or value.requires_grad)
        and not is_causal
        and not any(other.values())
    )


def _attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **other) -> Tensor:
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
    elif attn_mask is not None:
        scores = scores + attn_mask.to(scores.dtype)
    # Autocast would lift the softmax to float32 and bring it back: half of the time that is won here.
    with torch.autocast("cpu", enabled=False):
        weights = scores.softmax(-1)
    if dropout_p:
        weights = nn.functional.dropout(weights, dropout_p)
    return weights @ value
