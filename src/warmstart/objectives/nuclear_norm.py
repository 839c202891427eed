"""Nuclear norm of the sparse part of one random matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.cast import Cast
from ..engine.randomness import uniform
from ..engine.step import Step
from ..models.sparse import sparse_layers
from . import Objective

_STREAM = 71


class NuclearNorm(Objective):
    """Keeps what a sparse update learns of low rank: sum of the singular values of a masked weight matrix.

    loss = || W * M ||_*,  W one matrix of the model, drawn at each step, M its entries that train

    least: matrices with fewer rows or columns are left out. Weigh it with the step's `weights`.
    Loss (). 0 while no entries are chosen yet. Raises ValueError where nothing of the model is tuned sparsely.
    Source: Hu et al. 2024 (SaRA, arXiv 2409.06633): weight 5e-4, matrices larger than 64 x 64.
    Differs from the paper: smaller matrices count too, those of tiny models.
    """

    def __init__(self, least: int = 2):
        self.least = least

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        layers = [layer for _, layer in sparse_layers(cast.model.backbone)]
        if not layers:
            raise ValueError("nuclear_norm needs weights that are tuned sparsely, as by `tuner: sparse_update`")
        matrices = [layer for layer in layers if len(layer.index) and self._is_large(layer.core.weight)]
        if not matrices:
            return {"nuclear_norm": torch.zeros((), device=cast.model.device)}
        drawn = uniform(step.seed, step.index, torch.zeros(1, dtype=torch.int64), 1, stream=_STREAM).item()
        matrix = matrices[int(drawn * len(matrices))].masked_weight()
        return {"nuclear_norm": torch.linalg.matrix_norm(matrix.float(), ord="nuc")}

    def _is_large(self, weight: Tensor) -> bool:
        return weight.ndim > 1 and min(len(weight), weight.numel() // len(weight)) >= self.least
