"""What the modules of a model may know of the batch that it reads: its columns, and which tokens are real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from .errors import ModelError
from .wrapped import Wrapped

_COLUMNS: ContextVar[Mapping | None] = ContextVar("columns", default=None)
_MASK: ContextVar[Tensor | None] = ContextVar("mask", default=None)


@contextmanager
def reading(batch: Mapping) -> Iterator[None]:
    """Inside, modules see the columns of this batch (as `Rows.batch` makes it), in place of those of any around it."""
    token = _COLUMNS.set(batch)
    try:
        yield
    finally:
        _COLUMNS.reset(token)


@contextmanager
def masked(mask: Tensor | None) -> Iterator[None]:
    """Inside, modules know which tokens are real: (B, T), 1 where they are; None where all are."""
    token = _MASK.set(mask)
    try:
        yield
    finally:
        _MASK.reset(token)


def column(name: str, rows: int) -> Tensor:
    """(rows,) this column of the batch that is read now.

    Raises ModelError where the batch has none, or has another number of rows than the module sees.
    """
    found = (_COLUMNS.get() or {}).get(name)
    if not torch.is_tensor(found):
        raise ModelError(f"the model reads the column {name!r} of the rows beside them, and these rows have none")
    if len(found) != rows:
        raise ModelError(f"the model reads the column {name!r} of {len(found)} rows, and was given {rows} rows")
    return found


def columns_read(module: nn.Module) -> tuple[str, ...]:
    """The columns that wrapped modules in it read, each once: what its features depend on beside its inputs."""
    found = [name for one in module.modules() if isinstance(one, Wrapped) for name in one.reads]
    return tuple(dict.fromkeys(found))


class Routed(Wrapped):
    """A wrapped layer that mixes experts: how much of each it took, token by token, can be read after a forward.

    gates: (B, T, N) of the latest forward with its graph, 0 at padding; None before one, and once they are taken.
    """

    def __init__(self, base_layer: nn.Module):
        super().__init__(base_layer)
        self.gates: Tensor | None = None

    def __getstate__(self) -> dict:
        """Copies have no gates: they belong to a forward."""
        return {**self.__dict__, "gates": None}

    def keep(self, gates: Tensor) -> None:
        """Note the gates (B, T, N), or (B, N) of rows that are no sequences."""
        gates = gates.unsqueeze(1) if gates.ndim == 2 else gates
        mask = _MASK.get()
        if mask is not None and mask.shape == gates.shape[:2]:
            gates = gates * mask.unsqueeze(-1).to(gates.dtype)
        self.gates = gates


def take_gates(module: nn.Module) -> dict[str, Tensor]:
    """Path -> (B, T, N), the gates of every routed layer since they were last taken."""
    found = {}
    for path, layer in module.named_modules():
        if isinstance(layer, Routed) and layer.gates is not None:
            found[path], layer.gates = layer.gates, None
    return found
