"""What chosen layers read, on some rows of the data: calibration for tuners and compressors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor, nn

from ..models import Model
from ..models.layers import is_convolution
from .batches import to_device
from .rows import Rows

_BATCH = 32


@torch.no_grad()
def read_layer_inputs(
    model: Model, data: Rows, layers: Mapping[str, nn.Module], rows: int, note: Callable[[str, Tensor], None]
) -> None:
    """Run the model over evenly spaced rows, in evaluation mode, and note what each layer reads.

    layers: name -> linear layer or ungrouped convolution of two dimensions. rows: how many, at most.
    note: called as (name, (N, inputs)), batch after batch; padded tokens are left out, windows of a convolution are
        inputs in the order of its weight.
    """
    chosen = np.linspace(0, len(data) - 1, min(rows, len(data))).astype(np.int64)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with ExitStack() as stack:
        real: list[Tensor | None] = [None]
        for name, layer in layers.items():

            def hook(module: nn.Module, args: tuple, name: str = name) -> None:
                note(name, _as_rows(module, args[0], real[0]))

            stack.callback(layer.register_forward_pre_hook(hook).remove)
        for part in np.array_split(chosen, -(-len(chosen) // _BATCH)):
            batch = to_device(data.batch(part), model.device)
            real[0] = batch[data.modality].get("attention_mask")
            model.encode(batch, data.modality)
    for module, mode in modes:
        module.training = mode


def _as_rows(layer: nn.Module, x: Tensor, real: Tensor | None) -> Tensor:
    if is_convolution(layer):
        if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
            raise ValueError("inputs are known of linear layers and of ungrouped convolutions of two dimensions")
        padding = (0, 0) if isinstance(layer.padding, str) else layer.padding
        windows = nn.functional.unfold(x, layer.kernel_size, layer.dilation, padding, layer.stride)
        return windows.transpose(1, 2).flatten(0, 1)
    if real is not None and real.ndim == 2 and x.ndim == 3 and x.shape[:2] == real.shape:
        return x[real.bool()]
    return x.flatten(0, -2)
