"""Low-rank updates of weight matrices, through peft."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..engine.rows import Rows
from ..models import Model, ModelError, Tower
from ..models.layers import is_convolution, is_linear, is_transposed
from ..models.wrapped import innermost, is_wrapper
from . import Tuner

_ADAPTER = "default"


class Lora(Tuner):
    """LoRA: a low-rank matrix is added to chosen weights and trains, and the head.

    y = W x + (alpha / rank) B A dropout(x),  A (rank, in) drawn, B (out, rank) zero at the start
    folded: W' = W + (alpha / rank) B A

    rank: r. alpha: scales the update. dropout: on the update's input.
    targets: part names (`attention.query` in every block, or `block.5.ffn.in`); of a fused weight all slices are
        adapted. On an encoder whose parts are not known: every linear layer and 1 x 1 convolution of its blocks.
    A is drawn from torch's generator.
    Raises LookupError for a target that a known encoder does not have; ModelError where it carries a LoRA of
    another shape.
    Source: Hu et al. 2021 (arXiv 2106.09685), computed by peft.
    Differs from the paper: learning rates for small data (theirs are 2e-4 to 5e-4 with AdamW).
    """

    learning_rates = (5e-4, 2e-3)

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16,
        dropout: float = 0.0,
        targets: Sequence[str] = ("attention.query", "attention.value"),
    ):
        if rank < 1:
            raise ValueError(f"rank is 1 or more, not {rank}")
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, tuple(targets)

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Where the same LoRA is there already, it goes on training."""
        from peft import LoraConfig, inject_adapter_in_model

        paths = self._paths(model)
        adapted = _lora_layers(model)
        model.freeze()
        if not adapted:
            config = LoraConfig(
                r=self.rank,
                lora_alpha=self.alpha,
                lora_dropout=self.dropout,
                target_modules=sorted(paths),
                fan_in_fan_out=all(is_transposed(model.backbone.get_submodule(path)) for path in paths),
            )
            inject_adapter_in_model(config, model.backbone, _ADAPTER)
        else:
            same_layers = {innermost(path, layer)[0] for path, layer in adapted.items()} == paths
            if not same_layers or any(layer.r != {_ADAPTER: self.rank} for layer in adapted.values()):
                raise ModelError("the model carries a LoRA of another rank or of other layers: fold it first")
        for layer in _lora_layers(model).values():
            for name, parameter in layer.named_parameters():
                parameter.requires_grad_(name.startswith("lora_"))

    def _paths(self, model: Model) -> set[str]:
        """Paths from the backbone of the layers to adapt."""
        places = {id(module): path for path, module in model.backbone.named_modules()}
        return {places[id(layer)] for tower in model.towers.values() for layer in self._layers(tower)}

    def _layers(self, tower: Tower) -> list[nn.Module]:
        if not tower.layout.parts:
            return _plain_layers(tower)
        patterns = [name if name.startswith("block.") else f"block.*.{name}" for name in self.targets]
        parts = [(part.name, innermost(part.path, part.module)[1]) for part in tower.parts(*patterns)]
        for name, layer in parts:
            if not is_linear(layer):
                raise LookupError(f"{name} is no weight matrix but a {type(layer).__name__}: name a linear layer")
        return [layer for _, layer in parts]

    def fold(self, model: Model) -> None:
        for path, layer in _lora_layers(model).items():
            layer.merge()
            model.backbone.set_submodule(path, layer.base_layer)
        if hasattr(model.backbone, "peft_config"):
            del model.backbone.peft_config
        model.forget({"tune": self.describe()})

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for name, tower in model.towers.items():
            if not tower.layout.parts and not _plain_layers(tower):
                return f"this {name} encoder has no linear layer and no 1 x 1 convolution"
        return None


def _plain_layers(tower: Tower) -> list[nn.Module]:
    """Linear layers and ungrouped 1 x 1 convolutions of the blocks; of the whole encoder where those have none."""
    layers = [(path, innermost(path, layer)[1]) for path, layer in tower.linears()]
    layers = [(path, layer) for path, layer in layers if not is_convolution(layer) or _is_pointwise(layer)]
    inside = [layer for path, layer in layers if tower.depth and path.startswith(f"{tower.layout.blocks}.")]
    return inside or [layer for _, layer in layers]


def _is_pointwise(layer: nn.Module) -> bool:
    return layer.groups == 1 and all(size == 1 for size in layer.kernel_size)


def _lora_layers(model: Model) -> dict[str, nn.Module]:
    """peft's LoRA layers by their path in the backbone."""
    found = model.backbone.named_modules()
    return {path: module for path, module in found if is_wrapper(module) and "lora_A" in module._modules}
