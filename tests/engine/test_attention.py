"""Attention of short sequences: the same function as the fused kernel, in training on a CPU alone."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from warmstart.engine.attention import ShortAttention, _applies


def heads(length=9, dtype=torch.bfloat16):
    torch.manual_seed(0)
    return [torch.randn(2, 3, length, 8, dtype=dtype).requires_grad_() for _ in range(3)]


def masks():
    padding = torch.ones(2, 1, 1, 9, dtype=torch.bool)
    padding[1, ..., 6:] = False
    bias = torch.zeros(2, 1, 9, 9).masked_fill(~padding, torch.finfo(torch.float32).min)
    return {"none": {}, "bool": {"attn_mask": padding}, "added": {"attn_mask": bias}, "scale": {"scale": 0.1}}


@pytest.mark.parametrize("case", masks())
def test_equals_the_fused_kernel_and_its_gradient(case):
    arguments = masks()[case]
    exact = [x.detach().float().requires_grad_() for x in heads()]
    ours = heads()
    expected = scaled_dot_product_attention(*exact, **arguments)
    with ShortAttention():
        assert _applies(*ours, **arguments)
        found = scaled_dot_product_attention(*ours, **arguments)
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
    weights = torch.randn_like(expected)
    mine = torch.autograd.grad((found.float() * weights).sum(), ours)
    for a, b in zip(mine, torch.autograd.grad((expected * weights).sum(), exact), strict=True):
        torch.testing.assert_close(a.float(), b, atol=0.1, rtol=0.1)


def test_long_causal_exact_and_gradient_free_calls_take_the_fused_kernel():
    assert not _applies(*heads(300))
    assert not _applies(*heads(), is_causal=True)
    assert not _applies(*heads(), enable_gqa=True)
    assert not _applies(*heads(dtype=torch.float32))
    assert not _applies(*(x.detach() for x in heads()))
    with torch.no_grad():
        assert not _applies(*heads())
