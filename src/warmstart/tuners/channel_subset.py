"""A few attention heads and feed-forward channels train, in the weights that read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.batches import to_device
from ..engine.layer_inputs import read_layer_inputs
from ..engine.rows import Rows
from ..models import Model, ModelError
from ..models.coupled import Coupled, coupled
from ..models.targets import matrix_of
from ..models.wrapped import Wrapped, is_wrapper
from . import Tuner

_CHECKED, _TOLERANCE = 4, 1e-4


class ChannelSubset(Tuner):
    """S2FT: in every block a few heads and feed-forward channels train, in the columns of the weight that reads them.

    The block's units are put into another order, those that train first (P a permutation matrix):
    attention.out: W <- W P^T,  query, key, value: W <- P W;  ffn.out: W <- W P^T,  ffn.in, ffn.gate: W <- P W
    so that the block computes what it did, and then
    y = W x + D x[..., :k] + b,  D (m, k) zero at the start: the gradient needs k of the inputs alone
    folded: W[:, :k] + D, and every unit back in its place

    Heads that share their keys and values are one unit. Two such changes of one model with disjoint units add: their
    folded weights differ from the model's in other columns.
    heads, channels: share of a block's heads, and of its feed-forward channels; one at least, none where it is 0.
    by: the units are drawn, or those of the largest weights (norm of all that makes and reads a unit) or of the largest
        inputs (mean |x| over `rows` of the data) come first; end: `bottom` for the smallest.
    part: which of the disjoint slices of that order, from 0. seed: of the draw; None takes torch's generator.
    Without data (a checkpoint's replay) nothing is moved: the saved weights stand in their order.
    Raises ValueError for shares, a part or an end that mean nothing; ModelError where a layer carries another change,
    or the block computes something else in the new order.
    Source: Yang et al. 2024 (arXiv 2412.06289), with the shares of its LLaMA runs; they train at 1e-3 or below.
    Differs from the paper: D is kept beside W, not in it; rows of value and ffn.in do not train (its default too).
    """

    learning_rates = (1e-3, 3e-3)

    def __init__(
        self,
        heads: float = 0.052,
        channels: float = 0.02,
        by: Literal["draw", "weights", "inputs"] = "draw",
        end: Literal["top", "bottom"] = "top",
        part: int = 0,
        seed: int | None = None,
        rows: int = 64,
    ):
        if not (0 <= heads <= 1 and 0 <= channels <= 1 and heads + channels > 0):
            raise ValueError(f"heads and channels are shares from 0 to 1, not both 0, not {heads} and {channels}")
        if by not in ("draw", "weights", "inputs") or end not in ("top", "bottom") or part < 0:
            raise ValueError(
                f"by is draw, weights or inputs, end top or bottom, part 0 or more, not {by!r}, {end!r} and {part}"
            )
        self.heads, self.channels, self.by, self.end, self.part = heads, channels, by, end, part
        self.seed, self.rows = seed, rows

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Where units train already, they go on."""
        model.freeze()
        blocks = list(self._blocks(model))
        fresh = [block for block in blocks if not isinstance(block.module, _Slice)]
        orders = [torch.arange(block.units, device=model.device) for block in fresh]
        if data is not None and fresh:
            before = _answers(model, data)
            orders = self._orders(model, data, fresh)
            for block, order in zip(fresh, orders, strict=True):
                block.reorder(order)
            change = (_answers(model, data) - before).abs().max()
            if change > _TOLERANCE * before.abs().max().clamp_min(1.0):
                raise ModelError(f"{model.source} changes by {change:.1g} when its heads and channels change places")
        for block, order in zip(fresh, orders, strict=True):
            block.module = _Slice(block.reader, self._count(block) * block.width, order)
            block.tower.module.set_submodule(block.path, block.module)
        for block in blocks:
            block.module.delta.requires_grad_(True)

    def _blocks(self, model: Model) -> Iterator[Coupled]:
        kinds = tuple(kind for kind, share in (("attention", self.heads), ("ffn", self.channels)) if share)
        for tower in model.towers.values():
            try:
                found = list(coupled(tower, kinds))
            except LookupError as error:
                raise ModelError(str(error)) from error
            for block in found:
                if is_wrapper(block.module) and not isinstance(block.module, _Slice):
                    raise ModelError(f"{block.path}: fold the other change of this layer before channel_subset")
                yield block

    def _count(self, block: Coupled) -> int:
        """How many of the units train."""
        share = self.heads if block.kind == "attention" else self.channels
        count = max(1, round(share * block.units))
        if (self.part + 1) * count > block.units:
            raise ValueError(f"part {self.part} of {count} units each: {block.path} has {block.units}")
        return count

    @torch.no_grad()
    def _orders(self, model: Model, data: Rows, blocks: list[Coupled]) -> list[Tensor]:
        """The units of each block, those that train first."""
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        values = [torch.randperm(block.units, generator=generator).float() for block in blocks]
        if self.by == "weights":
            values = [block.sizes() for block in blocks]
        elif self.by == "inputs":
            values = self._inputs(model, data, blocks)
        orders = [one.to(model.device).argsort(descending=self.end == "top", stable=True) for one in values]
        return [one.roll(-self.part * self._count(block)) for one, block in zip(orders, blocks, strict=True)]

    def _inputs(self, model: Model, data: Rows, blocks: list[Coupled]) -> list[Tensor]:
        sums: dict[str, Tensor] = {}

        def note(name: str, x: Tensor) -> None:
            sums[name] = sums.get(name, 0) + x.abs().sum(0)

        named = {str(i): block.reader for i, block in enumerate(blocks)}
        read_layer_inputs(model, data, named, self.rows, note)
        # The blocks of a tower that the data does not reach read nothing.
        return [
            sums[str(i)].view(block.units, -1).sum(1) if str(i) in sums else torch.zeros(block.units)
            for i, block in enumerate(blocks)
        ]

    @torch.no_grad()
    def fold(self, model: Model) -> None:
        for block in list(self._blocks(model)):
            module = block.module
            if isinstance(module, _Slice):
                matrix_of(block.reader)[:, : module.delta.shape[1]] += module.delta
                block.tower.module.set_submodule(block.path, block.reader)
                block.reorder(module.order.argsort())
        model.forget({"tune": self.describe()})

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        try:
            for tower in model.towers.values():
                list(coupled(tower))
        except LookupError as error:
            return str(error)
        return None


class _Slice(Wrapped):
    """delta: (m, k), added to the first k columns; order: (units,) which unit stands in which place."""

    def __init__(self, base_layer: nn.Module, size: int, order: Tensor):
        super().__init__(base_layer)
        self.delta = nn.Parameter(base_layer.weight.new_zeros(len(matrix_of(base_layer)), size))
        self.register_buffer("order", order)

    def forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        chosen = x[..., : self.delta.shape[1]]
        return self.base_layer(x, *args, **kwargs) + nn.functional.linear(chosen, self.delta)


@torch.no_grad()
def _answers(model: Model, data: Rows) -> Tensor:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    rows = np.arange(min(_CHECKED, len(data)))
    found = model.encode(to_device(data.batch(rows), model.device), data.modality).pooled
    for module, mode in modes:
        module.training = mode
    return found
