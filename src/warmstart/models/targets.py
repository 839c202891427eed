"""Which layers of a model a tuner works on: by part names or, where parts are not known, all layers of its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .layers import is_convolution, is_linear, is_transposed
from .model import Model
from .tower import Tower
from .wrapped import innermost, is_wrapper

EVERY_LINEAR = ("attention.*", "ffn.*")


@dataclass
class Target:
    """A layer with a weight matrix.

    path: in the tower's module, of the outermost wrapper of the layer, which is `module`; `layer` is the layer itself.
    rows: (start, stop) of the outputs that are meant, one range for each part of a fused weight; all where not fused.
    """

    tower: Tower
    path: str
    module: nn.Module
    layer: nn.Module
    rows: list[tuple[int, int]]

    def wrapper(self, kind: type) -> nn.Module | None:
        """The wrapper of this kind around the layer."""
        module = self.module
        while is_wrapper(module):
            if isinstance(module, kind):
                return module
            module = module.base_layer
        return None

    def put(self, module: nn.Module) -> None:
        """Let this module stand where the layer and its wrappers stood."""
        self.tower.module.set_submodule(self.path, module)
        self.module = module

    def take_out(self, wrapper: nn.Module) -> None:
        """Leave the other wrappers of the layer where they are."""
        if self.module is wrapper:
            self.put(wrapper.base_layer)
            return
        outer = self.module
        while outer.base_layer is not wrapper:
            outer = outer.base_layer
        outer.base_layer = wrapper.base_layer


def targets(model: Model, patterns: Sequence[str], pointwise: bool = False, embeddings: bool = False) -> list[Target]:
    """Every layer that is meant, once.

    patterns: part names, in every block (`attention.*`, `ffn.in`) or in full (`block.5.ffn.in`, `embed`). On an
        encoder whose parts are not known all linear layers and convolutions of its blocks are meant (of the whole
        encoder where those have none).
    pointwise: of convolutions, only ungrouped ones of 1 x 1 over images. embeddings: a part may be an embedding table.
    Raises LookupError for a part that a known encoder does not have, or that is no weight matrix.
    """
    found: dict[int, Target] = {}
    for tower in model.towers.values():
        known = bool(tower.layout.parts)
        for path, module, rows in _named(tower, patterns, embeddings) if known else _plain(tower, pointwise):
            layer = innermost(path, module)[1]
            target = found.setdefault(id(layer), Target(tower, path, module, layer, []))
            if rows not in target.rows:
                target.rows.append(rows)
    for target in found.values():
        target.rows.sort()
    return list(found.values())


def matrix_of(layer: nn.Module) -> Tensor:
    """The weight as (outputs, inputs); (rows, width) of an embedding, (out, in * window) of a convolution."""
    return layer.weight.T if is_transposed(layer) else layer.weight.flatten(1)


def as_weight(matrix: Tensor, layer: nn.Module) -> Tensor:
    """A matrix like `matrix_of(layer)` in the shape of its weight."""
    return matrix.T if is_transposed(layer) else matrix.reshape(layer.weight.shape)


def _named(tower: Tower, patterns: Sequence[str], embeddings: bool):
    full = [name if name == "embed" or name.startswith("block.") else f"block.*.{name}" for name in patterns]
    for part in tower.parts(*full):
        layer = innermost(part.path, part.module)[1]
        if not is_linear(layer) and not (embeddings and isinstance(layer, nn.Embedding)):
            raise LookupError(f"{part.name} is no weight matrix but a {type(layer).__name__}: name a linear layer")
        count = len(matrix_of(layer))
        index, parts = part.slice or (0, 1)
        yield part.path, part.module, (index * count // parts, (index + 1) * count // parts)


def _plain(tower: Tower, pointwise: bool):
    layers = [(path, module, innermost(path, module)[1]) for path, module in tower.linears()]
    layers = [one for one in layers if not pointwise or _is_pointwise(one[2])]
    inside = [one for one in layers if tower.depth and one[0].startswith(f"{tower.layout.blocks}.")]
    for path, module, layer in inside or layers:
        yield path, module, (0, len(matrix_of(layer)))


def _is_pointwise(layer: nn.Module) -> bool:
    if not is_convolution(layer):
        return True
    simple = isinstance(layer, nn.Conv2d) and layer.groups == 1 and not any(layer.padding)
    return simple and all(size == 1 for size in layer.kernel_size)
