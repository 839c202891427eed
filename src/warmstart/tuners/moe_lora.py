"""Several low-rank updates of a weight, mixed token by token by a router."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..engine.rows import Rows
from ..models import Model
from ..models.reading import Routed
from ..models.targets import Target, matrix_of, targets
from . import Tuner


class MoeLora(Tuner):
    """LoRAMoE: N low-rank experts beside chosen weights, which a dense softmax router mixes for each token.

    y = W x + (alpha / rank) sum_i G_i(x) B_i A_i dropout(x),  G(x) = softmax(W_g x) over the experts
    A_i (rank, in) and W_g (N, in) start uniform in +-1/sqrt(in), B_i (out, rank) at 0. What is attached trains too.

    The gates of the latest forward stand in the wrapped layers (`models.reading.Routed`): an objective that balances
    them, such as `load_balance`, follows the one that runs the model.

    experts: N. rank, alpha, dropout: of each expert. targets: part names, in every block.
    Raises ValueError for fewer than one expert or rank, LookupError for a part that the encoder does not have.
    Source: Dou et al. 2023 (LoRAMoE, arXiv 2312.09979), the paper's 6 to 8 experts, rank 4, alpha 32, dropout 0.05.
    Differs from the paper: no dropout as a default.
    """

    learning_rates = (1e-3, 3e-3)
    folds = False

    def __init__(
        self,
        experts: int = 6,
        rank: int = 4,
        alpha: float = 32,
        dropout: float = 0.0,
        targets: Sequence[str] = ("ffn.*",),
    ):
        if experts < 1 or rank < 1:
            raise ValueError(f"experts and rank are 1 or more, not {experts} and {rank}")
        self.experts, self.rank, self.alpha, self.dropout = experts, rank, alpha, dropout
        self.targets = tuple(targets)

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Layers that have experts already go on with them."""
        model.freeze()
        for target in targets(model, self.targets):
            mixed = target.wrapper(_Mixed)
            if mixed is None:
                mixed = _Mixed(target, self.experts, self.rank, self.alpha / self.rank, self.dropout).to(model.device)
                target.put(mixed)
            for name, parameter in mixed.named_parameters(recurse=False):
                parameter.requires_grad_(name in _Mixed.own)

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for name, tower in model.towers.items():
            if not tower.layout.parts:
                return f"the parts of this {name} encoder are not known"
        return None


class _Mixed(Routed):
    """router (N, in), down (N, rank, in), up (N, out, rank)."""

    own = ("router", "down", "up")

    def __init__(self, target: Target, experts: int, rank: int, scale: float, dropout: float):
        super().__init__(target.module)
        written, read = matrix_of(target.layer).shape
        self.scale, self.dropout = scale, dropout
        self.router = nn.Parameter(_uniform(experts, read))
        self.down = nn.Parameter(_uniform(experts, rank, read))
        self.up = nn.Parameter(torch.zeros(experts, written, rank))

    def forward(self, x: Tensor) -> Tensor:
        gates = nn.functional.linear(x, self.router).float().softmax(-1).to(x.dtype)
        self.keep(gates)
        narrow = torch.einsum("...i,nri->...nr", nn.functional.dropout(x, self.dropout, self.training), self.down)
        update = torch.einsum("...nr,nor->...o", narrow * gates.unsqueeze(-1), self.up)
        return self.base_layer(x) + self.scale * update


def _uniform(*shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-1 / math.sqrt(shape[-1]), 1 / math.sqrt(shape[-1]))
