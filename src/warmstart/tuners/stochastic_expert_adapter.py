"""A bottleneck adapter split into sparse experts, of which training draws and evaluation uses all."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ..engine.rows import Rows
from ..models import Model, Tower
from ..models.layers import is_transposed
from ..models.wrapped import Wrapped, innermost
from . import Tuner

_IN, _OUT = "block.*.ffn.in", "block.*.ffn.out"


class StochasticExpertAdapter(Tuner):
    """MoSA: an adapter beside every feed-forward network, each of whose entries belongs to one of N experts.

    y = FFN(x) + scale * Up_b( gelu( Down_a(x) ) ),  Down (width, d), Up (d, width), with biases
    training:   W_i = W_0 + s M_i * (W - W_0),  a and b drawn from 1..N by each block at each forward
    evaluation: W, one dense adapter; s = N: the mean of the experts;  s = 1: W_0 and the sum of their updates
    The masks M_i are drawn once, disjoint, equally large and together whole; biases are common to all experts. Down
    starts uniform in +-1/sqrt(d), Up and the biases at 0. What is attached to the model trains too.

    Every entry trains in its own expert alone, so that W holds all experts at once: what trains is what the dense
    adapter trains. With one expert it is the dense adapter.

    width: of the bottleneck (64 in the paper, 16 for small tasks). experts: N. share: which projection is one dense
        matrix for all experts, `down` or `up`; None for neither. scale: 0.1 in their code. merge: `mean` or `sum`. The
        head learns from single experts; their mean is what they are on average, their sum is N times as far.
    Draws are torch's generator's. Raises ValueError for another `share` or `merge`, or fewer than one expert.
    Source: Zhang et al. 2023 (arXiv 2312.02923); the parallel adapter of Chen et al. 2022 (arXiv 2205.13535).
    Differs from the paper: the adapter reads what the network reads, normalised where that is, and has no norm of its
    own. The mean, which is what their code takes, is in W all the time, not found after training: experts learn N times
    as fast as W. Experts that were not drawn still move by the optimizer's momentum.
    """

    learning_rates = (1e-3, 5e-3)
    folds = False

    def __init__(
        self,
        width: int = 16,
        experts: int = 4,
        share: Literal["down", "up"] | None = "up",
        scale: float = 1.0,
        merge: Literal["mean", "sum"] = "mean",
    ):
        if width < 1 or experts < 1:
            raise ValueError(f"width and experts are 1 or more, not {width} and {experts}")
        if share not in (None, "down", "up"):
            raise ValueError(f"share is down, up, or None for neither, not {share!r}")
        if merge not in ("mean", "sum"):
            raise ValueError(f"merge is mean or sum, not {merge!r}")
        self.width, self.experts, self.share, self.scale, self.merge = width, experts, share, scale, merge

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Adapters that are there already go on training."""
        model.freeze()
        for tower in {id(tower.module): tower for tower in model.towers.values()}.values():
            for read, written in zip(tower.parts(_IN), tower.parts(_OUT), strict=True):
                adapter = written.module
                if not isinstance(adapter, _SplitAdapter):
                    adapter = self._beside(tower, read, written).to(model.device)
                for projection in (adapter.down, adapter.up):
                    projection.requires_grad_(True)

    def _beside(self, tower: Tower, read, written) -> _SplitAdapter:
        width_in = _sizes(innermost(read.path, read.module)[1])[0]
        width_out = _sizes(innermost(written.path, written.module)[1])[1]
        counts = {one: 1 if self.share == one else self.experts for one in ("down", "up")}
        down = _Split(width_in, self.width, counts["down"], self.merge)
        up = _Split(self.width, width_out, counts["up"], self.merge, zero=True)
        adapter = _SplitAdapter(written.module, down, up, self.scale)
        read.module.register_forward_pre_hook(adapter.note_input)
        tower.module.set_submodule(written.path, adapter)
        return adapter

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for name, tower in model.towers.items():
            if "ffn.in" not in tower.layout.parts:
                return f"the feed-forward networks of this {name} encoder are not known"
        return None


class _SplitAdapter(Wrapped):
    """Stands where the last layer of a feed-forward network stood, and reads what the first one reads."""

    def __init__(self, base_layer: nn.Module, down: _Split, up: _Split, scale: float):
        super().__init__(base_layer)
        self.down, self.up, self.scale = down, up, scale
        self.input: Tensor | None = None

    def note_input(self, module: nn.Module, args: tuple) -> None:
        self.input = args[0]

    def forward(self, hidden: Tensor) -> Tensor:
        read, self.input = self.input, None
        narrow = nn.functional.gelu(self.down(read, self.down.draw() if self.training else None))
        return self.base_layer(hidden) + self.scale * self.up(narrow, self.up.draw() if self.training else None)


class _Split(nn.Module):
    """A linear layer whose entries belong to experts: `owner` says to which, `start` where they began."""

    def __init__(self, width_in: int, width_out: int, experts: int, merge: str, zero: bool = False):
        super().__init__()
        self.experts, self.strength = experts, experts if merge == "mean" else 1
        self.weight = nn.Parameter(torch.zeros(width_out, width_in))
        self.bias = nn.Parameter(torch.zeros(width_out))
        if not zero:
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if experts > 1:
            owner = torch.randperm(self.weight.numel()).remainder(experts).to(torch.uint8)
            self.register_buffer("owner", owner.view(self.weight.shape))
            self.register_buffer("start", self.weight.detach().clone())

    def draw(self) -> int | None:
        return int(torch.randint(self.experts, ())) if self.experts > 1 else None

    def forward(self, x: Tensor, expert: int | None) -> Tensor:
        """expert: which one alone; None for all of them."""
        weight = self.weight if expert is None else self.of(expert)
        return nn.functional.linear(x, weight, self.bias)

    def of(self, expert: int) -> Tensor:
        """This expert's weight."""
        return self.start + self.strength * torch.where(self.owner == expert, self.weight - self.start, 0.0)


def _sizes(layer: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer."""
    written, read = layer.weight.shape[:2]
    return (written, read) if is_transposed(layer) else (read, written)
