"""What attention needs where trainable tokens, or keys and values, stand before a row's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class PrefixAttention(TorchFunctionMode):
    """Inside, the first attention that is computed reads these keys and values too; it is the one to own tokens."""

    def __init__(self, keys: Tensor, values: Tensor):
        super().__init__()
        self.keys, self.values, self.done = keys, values, False

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is nn.functional.scaled_dot_product_attention and not self.done:
            self.done = True
            return self._attention(function, *args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _attention(
        self, function, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **other
    ) -> Tensor:
        length = len(self.keys)
        if is_causal:
            attn_mask = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
        if attn_mask is not None:
            attn_mask = nn.functional.pad(attn_mask, (length, 0), value=_seen(attn_mask))
        key, value = _prepended(self.keys, key), _prepended(self.values, value)
        return function(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p, is_causal=False, **other)


def _prepended(added: Tensor, states: Tensor) -> Tensor:
    """added: (l, heads * d); states (B, H, T, d), where H may repeat each of those heads."""
    batch, heads, _, width = states.shape
    added = added.to(states.dtype).view(len(added), -1, width).transpose(0, 1)
    added = added.repeat_interleave(heads // len(added), 0)
    return torch.cat([added.expand(batch, -1, -1, -1), states], dim=2)


def mask_with_prompts(mask: Tensor, length: int) -> Tensor:
    """A mask of attention, bool or added to scores, for `length` prompts before the tokens.

    (B, T) and (B, 1, 1, T): every prompt is seen. (B, 1, T, T): also, and prompts see every token that some token sees,
    or none where tokens see only what is before them.
    """
    mask = nn.functional.pad(mask, (length, 0), value=_seen(mask))
    if mask.ndim != 4 or mask.shape[-2] == 1:
        return mask
    tokens = mask[..., length:]
    rows = tokens.amax(-2, keepdim=True) if tokens.is_floating_point() else tokens.any(-2, keepdim=True)
    hidden = torch.full_like(rows, torch.finfo(rows.dtype).min if rows.is_floating_point() else False)
    sees = tokens == 0 if tokens.is_floating_point() else tokens
    causal = tokens.shape[-1] > 1 and not sees.triu(1).any()
    rows = (hidden if causal else rows).expand(*tokens.shape[:-2], length, -1)
    own = rows.new_full((*rows.shape[:-1], length), _seen(mask))
    if causal:
        own = torch.where(own.new_ones(length, length, dtype=torch.bool).tril(), own, hidden[..., :1])
    return torch.cat([torch.cat([own, rows], -1), mask], -2)


def mask_with_readers(mask: Tensor, length: int, tokens: int) -> Tensor:
    """A mask (B, 1, T, S) of attention to an encoder's states: prompts see what the first token sees."""
    if mask.ndim != 4 or mask.shape[-2] != tokens:
        return mask
    return torch.cat([mask[..., :1, :].expand(*mask.shape[:-2], length, -1), mask], -2)


def rotation_with_prompts(rotation: tuple[Tensor, Tensor], length: int) -> tuple[Tensor, Tensor]:
    """cos and sin (B, T, d) of the tokens' positions, before them those of `length` prompts without one."""
    cos, sin = rotation
    pad = (0, 0, length, 0)
    return nn.functional.pad(cos, pad, value=1.0), nn.functional.pad(sin, pad, value=0.0)


def _seen(mask: Tensor) -> float:
    return 0.0 if mask.is_floating_point() else 1.0
