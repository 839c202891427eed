"""The decoder of a masked autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchDecoder(nn.Module):
    """A small transformer that predicts hidden tokens from the encoder's states of the visible ones.

    read: width of the encoder's states. outputs: numbers predicted a token. grid: (rows, columns) of tokens.
    prefix: the encoder's prefix tokens, which are decoded along. width, depth, heads: of the transformer.
    Positions are fixed sines and cosines; hidden tokens start from one learned vector.
    """

    def __init__(self, read: int, outputs: int, grid: tuple[int, int], prefix: int, width: int, depth: int, heads: int):
        super().__init__()
        self.prefix = prefix
        self.embed = nn.Linear(read, width)
        self.hidden_token = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("positions", sine_positions(*grid, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, outputs)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, states: Tensor, kept: Tensor, hidden: Tensor) -> Tensor:
        """states: (B, prefix + K, read); kept: (B, K), hidden: (B, H) indices -> (B, H, outputs).

        Attention does not mind the order: prefix, visible and hidden tokens stand one after the other, nothing is
        put back into place, and the last block answers for the hidden tokens alone.
        """
        x = self.embed(states)
        positions = self.positions.to(x.dtype)
        hidden_tokens = self.hidden_token.to(x.dtype) + positions[hidden]
        x = torch.cat([x[:, : self.prefix], x[:, self.prefix :] + positions[kept], hidden_tokens], dim=1)
        seen = states.shape[1]
        for block in self.blocks[:-1]:
            x = block(x)
        x = self.blocks[-1](x, seen) if len(self.blocks) else x[:, seen:]
        return self.predict(self.norm(x))


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + ffn(norm(x)), four times as wide inside."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_first, self.norm_second = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ffn_in, self.ffn_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """(B, T, D) -> (B, T - first, D): the states from token `first` on, which attend to all."""
        q, k, v = self._queries_keys_values(self.norm_first(x), first)
        x = x[:, first:]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.ffn_out(nn.functional.gelu(self.ffn_in(self.norm_second(x))))

    def _queries_keys_values(self, x: Tensor, first: int) -> list[Tensor]:
        if first == 0:
            parts = self.qkv(x).chunk(3, -1)
        else:
            width = x.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            queries = nn.functional.linear(x[:, first:], weight[:width], bias[:width])
            parts = queries, *nn.functional.linear(x, weight[width:], bias[width:]).chunk(2, -1)
        return [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts]


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """(rows * columns, width): sines and cosines of the column, then of the row, at width / 4 frequencies each."""
    if width % 4:
        raise ValueError(f"the decoder's width must be a multiple of 4, not {width}")
    rates = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    y, x = torch.meshgrid(torch.arange(rows).double(), torch.arange(columns).double(), indexing="ij")
    angles = [place.flatten().outer(rates) for place in (x, y)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).float()
