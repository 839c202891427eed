"""Layers with something around them: how a tuner changes a layer of any architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

BASE = "base_layer"


class Wrapped(nn.Module):
    """Stands where a layer stood and holds that layer as `base_layer`, as peft's layers do.

    What other code reads from the layer (`weight`, `in_features`, ...) it reads through the wrapper. What a tuner
    adds to a backbone always lives in such modules: that is how `split_state` tells it from the architecture.

    sized: names of own parameters and buffers whose size is not known from the layer: they take it from a state
        dict that is loaded.
    reads: names of columns of the rows that it reads beside its input (`models.reading.column`).
    """

    sized: ClassVar[tuple[str, ...]] = ()
    reads: tuple[str, ...] = ()

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer

    @property
    def core(self) -> nn.Module:
        """The layer itself, below all wrappers."""
        return innermost(BASE, self.base_layer)[1]

    @property
    def prefix(self) -> str:
        """Before the names of the layer's parameters, seen from `base_layer`: wrappers may come between them later."""
        path = innermost(BASE, self.base_layer)[0].removeprefix(BASE).lstrip(".")
        return f"{path}." if path else ""

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        for name in self.sized:
            saved = state_dict.get(prefix + name)
            if saved is not None:
                self.resize(name, saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def resize(self, name: str, shape: Sequence[int]) -> None:
        """Give an own parameter or buffer another size; what it held is lost."""
        old = getattr(self, name)
        if old.shape != torch.Size(shape):
            new = old.new_zeros(shape)
            setattr(self, name, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Past other wrappers, whose own parameters are not the layer's.
            layer = self.__dict__.get("_modules", {}).get(BASE)
            while layer is not None and is_wrapper(layer):
                layer = layer.base_layer
            if layer is None:
                raise
            return getattr(layer, name)


def is_wrapper(module: nn.Module) -> bool:
    """Whether this module, ours or peft's, stands for the layer that it holds."""
    return BASE in module._modules


def innermost(path: str, module: nn.Module) -> tuple[str, nn.Module]:
    """The layer itself below all its wrappers, and its path."""
    while is_wrapper(module):
        path, module = f"{path}.{BASE}", module.base_layer
    return path, module


def split_state(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(the architecture's own tensors under its own names, what tuners added under the names of `state_dict`)."""
    wrappers = {path for path, child in module.named_modules() if is_wrapper(child)}
    plain: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        own = _own_name(name, wrappers)
        if own is None:
            added[name] = tensor
        else:
            plain[own] = tensor
    return plain, added


def _own_name(name: str, wrappers: set[str]) -> str | None:
    """The name without `base_layer`; None where the tensor belongs to a wrapper."""
    own, path = [], ""
    for piece in name.split("."):
        if path in wrappers and piece != BASE:
            return None
        if path not in wrappers:
            own.append(piece)
        path = f"{path}.{piece}" if path else piece
    return ".".join(own)
