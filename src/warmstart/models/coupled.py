"""Units of a block that can change places: attention heads and feed-forward channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .targets import matrix_of
from .tower import Tower
from .wrapped import innermost, is_wrapper

_HEADS = ("num_attention_heads", "num_heads", "n_heads")


@dataclass
class Coupled:
    """Units of one block: what makes them, and the layer that reads them.

    kind: `attention` or `ffn`. units: how many: heads (groups of heads that share keys and values), or channels.
    makers: (layer, start, stop): rows of its weight matrix that make them, unit after unit.
    path, module: of the reader in the tower's module, with its wrappers; reader: the layer itself, whose inputs they
        are, unit after unit.
    """

    tower: Tower
    kind: str
    units: int
    makers: list[tuple[nn.Module, int, int]]
    path: str
    module: nn.Module
    reader: nn.Module

    @property
    def width(self) -> int:
        """Inputs of the reader that one unit makes."""
        return matrix_of(self.reader).shape[1] // self.units

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Unit order[i] goes to place i, in all that makes and reads it: what the block computes stays.

        order: (units,) int64.
        """
        for maker, start, stop in self.makers:
            rows = start + _spread(order, (stop - start) // self.units)
            matrix = matrix_of(maker)
            matrix[start:stop] = matrix[rows]
            if getattr(maker, "bias", None) is not None:
                maker.bias[start:stop] = maker.bias[rows]
        matrix = matrix_of(self.reader)
        matrix.copy_(matrix[:, _spread(order, self.width)])

    @torch.no_grad()
    def sizes(self) -> Tensor:
        """(units,) Frobenius norm of all weights that make and read a unit."""
        squares = matrix_of(self.reader).square().sum(0).view(self.units, -1).sum(1)
        for maker, start, stop in self.makers:
            squares = squares + matrix_of(maker)[start:stop].square().sum(1).view(self.units, -1).sum(1)
        return squares.sqrt()


def coupled(tower: Tower, kinds: tuple[str, ...] = ("attention", "ffn")) -> Iterator[Coupled]:
    """The units of every block, in order.

    Raises LookupError where the encoder's parts or its number of heads are not known, or a layer carries another
    change than that of the reader.
    """
    if not tower.layout.parts:
        raise LookupError(f"{type(tower.module).__name__} has no known heads and feed-forward channels")
    parts = {part.name: part for part in tower.parts("block.*")}
    for i in range(tower.depth):
        for kind, names in (("attention", ("query", "key", "value")), ("ffn", ("in", "gate"))):
            out = parts.get(f"block.{i}.{kind}.out")
            if kind not in kinds or out is None:
                continue
            reader = innermost(out.path, out.module)[1]
            makers = []
            for name in names:
                part = parts.get(f"block.{i}.{kind}.{name}")
                if part is None:
                    continue
                if is_wrapper(part.module):
                    raise LookupError(f"{part.name} carries another change: fold it first")
                index, count = part.slice or (0, 1)
                size = len(matrix_of(part.module)) // count
                makers.append((part.module, index * size, (index + 1) * size))
            units = _groups_of_heads(tower) if kind == "attention" else matrix_of(reader).shape[1]
            yield Coupled(tower, kind, units, makers, out.path, out.module, reader)


def _groups_of_heads(tower: Tower) -> int:
    config = getattr(tower.module, "config", None)
    shared = getattr(config, "num_key_value_heads", None)
    owners = [config, *tower.blocks[0].modules()]
    heads = (getattr(owner, name, None) for owner in owners for name in _HEADS)
    found = shared if isinstance(shared, int) else next((n for n in heads if isinstance(n, int)), None)
    if found is None:
        raise LookupError(f"the number of heads of {type(tower.module).__name__} is not known")
    return found


def _spread(order: Tensor, width: int) -> Tensor:
    """Indices of the entries of units, from those of the units."""
    return (order.unsqueeze(1) * width + torch.arange(width, device=order.device)).flatten()
