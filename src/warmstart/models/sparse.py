"""Layers of whose weights chosen entries change, beside a low-rank matrix where they have one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .wrapped import BASE, Wrapped, innermost, is_wrapper


class SparselyTuned(Wrapped):
    """Stands for a layer of any kind and computes with its own parameters, changed at chosen entries.

    theta = theta_0 + scatter(values at index),  W += up @ down

    theta: the layer's own parameters, flattened and put behind one another in their order.
    index (k,) int64, values (k,): the entries that change, and by how much.
    up (rows, r), down (r, columns): of the weight as a matrix, rows = weight.shape[0]; r = 0 where there is none.
    stopped (k,) bool, settled (k,): entries that train no more, and by how much they have changed; empty where every
        entry trains to the end.
    """

    sized = ("index", "values", "up", "down", "stopped", "settled")

    def __init__(self, base_layer: nn.Module):
        super().__init__(base_layer)
        core, weight = self.core, self.core.weight
        self.register_buffer("index", torch.zeros(0, dtype=torch.int64, device=weight.device))
        self.register_buffer("stopped", torch.zeros(0, dtype=torch.bool, device=weight.device))
        self.register_buffer("settled", weight.detach().new_zeros(0))
        self.values = nn.Parameter(weight.detach().new_zeros(0))
        rows = len(weight) if weight.ndim > 1 else 0
        self.up = nn.Parameter(weight.detach().new_zeros(rows, 0))
        self.down = nn.Parameter(weight.detach().new_zeros(0, weight.numel() // rows if rows else 0))
        self.shapes = {name: parameter.shape for name, parameter in core.named_parameters(recurse=False)}

    @property
    def is_changed(self) -> bool:
        """Whether there is anything that may change."""
        return len(self.index) > 0 or len(self.down) > 0

    def choose(self, index: Tensor, rank: int = 0, stops: bool = False) -> None:
        """Let these entries change (in place of others before), and a matrix of this rank be added to the weight.

        The change is zero at first: values and up are zeros, down is drawn as the weight of a linear layer. stops:
        whether entries may stop later.
        """
        values = self.values.new_zeros(len(index))
        self.index, self.values = index, nn.Parameter(values)
        if stops:
            self.stopped, self.settled = torch.zeros_like(index, dtype=torch.bool), values.clone()
        if rank:
            self.up = nn.Parameter(self.up.new_zeros(len(self.up), rank))
            self.down = nn.Parameter(self.down.new_empty(rank, self.down.shape[1]))
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    @torch.no_grad()
    def stop(self, entries: Tensor) -> None:
        """These of the entries, (k,) bool, stay as they are from now on."""
        newly = entries & ~self.stopped
        self.settled[newly], self.stopped[newly] = self.values[newly], True

    def changes(self) -> Tensor:
        """(k,): what is added at `index`."""
        return torch.where(self.stopped, self.settled, self.values) if len(self.stopped) else self.values

    def base_entries(self) -> Tensor:
        """(k,): what stood at `index`."""
        return self._flat()[self.index]

    def masked_weight(self) -> Tensor:
        """The weight as a matrix, with its graph, zero but at the entries that still train."""
        weight = self.core.weight
        inside = self.index < weight.numel()
        if len(self.stopped):
            inside = inside & ~self.stopped
        entries = self.base_entries() + self.changes()
        flat = torch.zeros_like(weight).flatten().index_add(0, self.index[inside], entries[inside])
        return flat.view(len(weight), -1)

    def composed(self) -> dict[str, Tensor]:
        """The layer's parameters as they are with the change, by name."""
        flat = self._flat().index_add(0, self.index, self.changes()) if len(self.index) else self._flat()
        pieces = flat.split([shape.numel() for shape in self.shapes.values()])
        found = {name: piece.view(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}
        if len(self.down):
            found["weight"] = found["weight"] + (self.up @ self.down).view(self.shapes["weight"])
        return found

    def _flat(self) -> Tensor:
        core = self.core
        return torch.cat([getattr(core, name).flatten() for name in self.shapes])

    def forward(self, *args, **kwargs):
        if not self.is_changed:
            return self.base_layer(*args, **kwargs)
        weights = {f"{self.prefix}{name}": weight for name, weight in self.composed().items()}
        return functional_call(self.base_layer, weights, args, kwargs)


def sparse_layers(module: nn.Module) -> list[tuple[str, SparselyTuned]]:
    """(path, layer) of all such layers in it."""
    return [(path, layer) for path, layer in module.named_modules() if isinstance(layer, SparselyTuned)]


@dataclass(frozen=True)
class Candidate:
    """A weight some of whose entries may change; start: where it begins among its layer's parameters."""

    layer: nn.Module
    weight: nn.Parameter
    start: int
    size: int

    def low_rank_size(self, rank: int) -> int | None:
        """Weights of a matrix of this rank in its place; None where it is a vector."""
        if self.weight.ndim < 2:
            return None
        return rank * (len(self.weight) + self.size // len(self.weight))


def candidates(layer: nn.Module, kinds: Sequence[str]) -> Iterator[Candidate]:
    """The layer's own parameters of these kinds: `matrix`, `norm` (any other vector but a bias), `bias`."""
    start = 0
    for name, weight in innermost(BASE, layer)[1].named_parameters(recurse=False):
        kind = "bias" if name == "bias" else "matrix" if weight.ndim > 1 else "norm"
        if kind in kinds:
            yield Candidate(layer, weight, start, weight.numel())
        start += weight.numel()


def own_wrapper(path: str, layer: nn.Module) -> tuple[str, nn.Module]:
    """The SparselyTuned among a layer's wrappers, with its path; the layer as it is where there is none."""
    outer = path, layer
    while is_wrapper(layer):
        if isinstance(layer, SparselyTuned):
            return path, layer
        path, layer = f"{path}.{BASE}", layer.base_layer
    return outer


def unshared_embeddings(module: nn.Module, backbone: nn.Module) -> list[tuple[str, nn.Module]]:
    """(path, embedding) of the module, with their wrappers, but for one that the backbone's language head shares."""
    shared, found, closed = _shared_embedding(backbone), [], ()
    for path, child in module.named_modules():
        if closed and path.startswith(closed):
            continue
        if is_wrapper(child):
            closed += (f"{path}.",)
        core = innermost(path, child)[1]
        if isinstance(core, nn.Embedding) and core.weight is not shared:
            found.append((path, child))
    return found


def _shared_embedding(backbone: nn.Module) -> nn.Parameter | None:
    if not getattr(getattr(backbone, "config", None), "tie_word_embeddings", False):
        return None
    try:
        return getattr(backbone.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        return None
