"""Tasks mix an inventory of shared low-rank skills, block by block of the weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..engine.rows import Rows
from ..models import Model, ModelError
from ..models.layers import is_linear
from ..models.reading import column
from ..models.targets import Target, as_weight, matrix_of, targets
from ..models.wrapped import Wrapped, is_wrapper
from . import Tuner


class MultiHeadAdapterRouting(Tuner):
    """MHR: each task mixes K LoRA skills, with shares of its own for each of h blocks of the weight.

    a_q = sigmoid(Z_tq) / sum over the K skills,  Z (tasks, h, K) of a layer, t the row's task, q one of h blocks
    A_q = sum_k a_qk A_qk,  B_q = sum_k a_qk B_qk;  y = W x + (alpha / rank) [B_1; ..; B_h] [A_1 .. A_h] x
    A_qk (rank, in / h) reads the q-th part of the input, B_qk (out / h, rank) writes the q-th part of the output
    h = 1 is Poly. Z starts uniform in +-1e-3, A in +-1/sqrt(in), B at 0. What is attached to the model trains too.

    tune: `all` trains Z and skills; `routing` Z alone (MHR-z); `average` replaces the skills by their mean, one LoRA
        without routing, and trains that (MHR-mu).
    tasks: how many there are, those that are learned later too: Z of a task stays where it starts until rows of that
        task come. With more than one, rows have a column `role` of numbers below `tasks`. skills: K. heads: h, which
        divides the layers' sizes. rank, alpha: of a skill. targets: part names, in every block.
    routing_rate: Z learns at this multiple of the learning rate.
    Folds where one task, or the averaged skills, decide the weight.
    Raises ValueError for another `tune` or numbers below 1, LookupError for a part that the encoder does not have,
    ModelError where h does not divide a layer, the model has skills of another shape, or a row's task is unknown.
    Source: Caccia et al. 2022 (arXiv 2211.03831), as in its code; Poly of Ponti et al. 2022 (arXiv 2202.13914).
    Differs from the paper: no relaxed Bernoulli noise on Z in training; the rate of Z comes from scaling Z, which is
    the same under AdamW.
    """

    learning_rates = (1e-3, 3e-3)

    def __init__(
        self,
        tasks: int = 1,
        skills: int = 8,
        heads: int = 8,
        rank: int = 2,
        alpha: float = 2,
        tune: Literal["all", "routing", "average"] = "all",
        role: str = "task",
        routing_rate: float = 10.0,
        targets: Sequence[str] = ("attention.query", "attention.value"),
    ):
        if min(tasks, skills, heads, rank) < 1:
            raise ValueError("tasks, skills, heads and rank are 1 or more")
        if tune not in ("all", "routing", "average"):
            raise ValueError(f"tune is all, routing or average, not {tune!r}")
        self.tasks, self.skills, self.heads, self.rank, self.alpha = tasks, skills, heads, rank, alpha
        self.tune, self.role, self.routing_rate, self.targets = tune, role, routing_rate, tuple(targets)
        self.folds = tasks == 1 or tune == "average"

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Skills that are there already go on training, or are averaged."""
        model.freeze()
        for target in targets(model, self.targets):
            mixed = target.wrapper(_Skills)
            if mixed is None:
                mixed = _Skills(target, self).to(model.device)
                target.put(mixed)
            elif mixed.shape != (self.heads, self.rank) or mixed.skills not in (1, self.skills):
                raise ModelError(
                    f"{target.path}: has skills of another shape: fold them, or tune with the same numbers"
                )
            if self.tune == "average":
                mixed.average()
            for name, parameter in mixed.named_parameters(recurse=False):
                parameter.requires_grad_(name == "routing" or self.tune != "routing")

    @torch.no_grad()
    def fold(self, model: Model) -> None:
        for target in targets(model, self.targets):
            mixed = target.wrapper(_Skills)
            if mixed is None:
                continue
            if mixed.reads:
                raise ModelError(
                    f"{target.path}: each of {self.tasks} tasks has weights of its own: average them first"
                )
            if target.module is not mixed or is_wrapper(mixed.base_layer):
                raise ModelError(
                    f"{target.path}: fold the other change of this layer before multi_head_adapter_routing"
                )
            weight = target.layer.weight
            weight.add_(as_weight(mixed.update(), target.layer))
            target.put(mixed.base_layer)
        model.forget({"tune": self.describe()})

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for name, tower in model.towers.items():
            if not tower.layout.parts:
                return f"the parts of this {name} encoder are not known"
        return None


class _Skills(Wrapped):
    """down (h, K, in / h, rank), up (h, K, rank, out / h); routing (tasks, h, K), None where there is one skill."""

    def __init__(self, target: Target, tuner: MultiHeadAdapterRouting):
        super().__init__(target.module)
        if not is_linear(target.layer) or target.layer.weight.ndim != 2:
            raise ModelError(f"{target.path} is no weight matrix but a {type(target.layer).__name__}")
        written, read = matrix_of(target.layer).shape
        heads, skills, rank = tuner.heads, tuner.skills, tuner.rank
        if written % heads or read % heads:
            raise ModelError(f"{target.path} has {read} inputs and {written} outputs: {heads} heads do not divide them")
        self.scale, self.speed, self.role = tuner.alpha / rank, tuner.routing_rate, tuner.role
        bound = 1 / math.sqrt(read)
        self.down = nn.Parameter(torch.empty(heads, skills, read // heads, rank).uniform_(-bound, bound))
        self.up = nn.Parameter(torch.zeros(heads, skills, rank, written // heads))
        start = torch.empty(tuner.tasks, heads, skills).uniform_(-1e-3, 1e-3) / self.speed
        self.register_parameter("routing", nn.Parameter(start) if skills > 1 else None)

    @property
    def shape(self) -> tuple[int, int]:
        """(heads, rank)"""
        return self.down.shape[0], self.down.shape[3]

    @property
    def skills(self) -> int:
        return self.down.shape[1]

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.routing is None or len(self.routing) == 1 else (self.role,)

    @torch.no_grad()
    def average(self) -> None:
        """The mean skill alone, and no routing."""
        trains = self.down.requires_grad
        for name in ("down", "up"):
            setattr(self, name, nn.Parameter(getattr(self, name).mean(1, keepdim=True), trains))
        self.routing = None

    def shares(self, rows: int) -> Tensor:
        """(B, h, K), or (1, h, K) where all rows mix alike."""
        if self.routing is None:
            return self.down.new_ones(1, self.shape[0], 1)
        logits = self.routing
        if self.reads:
            task = column(self.role, rows).long()
            if int(task.max()) >= len(logits) or int(task.min()) < 0:
                raise ModelError(
                    f"{self.role} {int(task.max())} of a row is none of the {len(logits)} tasks of the model"
                )
            logits = logits[task]
        active = (self.speed * logits).sigmoid()
        return active / active.sum(-1, keepdim=True)

    def mixed(self, rows: int) -> tuple[Tensor, Tensor]:
        """A (B, in, rank) and B (B, rank, out) of every row, or of all."""
        shares = self.shares(rows)
        down = torch.einsum("bqk,qkdr->bqdr", shares, self.down).flatten(1, 2)
        up = torch.einsum("bqk,qkrd->brqd", shares, self.up).flatten(2)
        return down, up

    def update(self) -> Tensor:
        """(out, in): what is added to the weight, where all rows mix alike."""
        down, up = self.mixed(1)
        return self.scale * (down[0] @ up[0]).T

    def forward(self, x: Tensor) -> Tensor:
        down, up = self.mixed(len(x))
        tokens = x.unsqueeze(1) if x.ndim == 2 else x
        update = (tokens @ down) @ up
        return self.base_layer(x) + self.scale * (update.squeeze(1) if x.ndim == 2 else update)
