"""Many linear softmax heads over the same features, trained by minibatch gradients as one computation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class HeadConfiguration:
    """How one head is trained: its peak learning rate (cosine to zero), decoupled weight decay, and steps."""

    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    steps: int = 300


def train_linear_heads(
    features: Tensor,
    labels: Tensor,
    classes: int,
    configurations: Sequence[HeadConfiguration],
    rows: Tensor | None = None,
    *,
    batch_size: int = 64,
    seed: int = 0,
    optimizer: str = "adamw",
) -> tuple[Tensor, Tensor]:
    """H heads that minimise the mean cross-entropy of their rows, started at zero.

    features: (N, D) float32, as the caller scaled them. labels: (N,) int64.
    configurations: H of them. rows: (H, N) bool, the rows that each head sees; all by default.
    batch_size: rows a step, or the fewest rows that any head sees. Heads that see the same rows get the same
        batches, which depend on these rows and the seed alone.
    optimizer: "adamw" (Loshchilov and Hutter 2019, arXiv 1711.05101; betas 0.9, 0.999) or "sgd" (momentum
        0.9, decoupled decay). Biases do not decay.
    Returns weights (H, C, D) and biases (H, C).
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer is {optimizer!r}; it can be one of {OPTIMIZERS}")
    count = len(configurations)
    rows = torch.ones(1, len(features), dtype=torch.bool).expand(count, -1) if rows is None else rows
    subsets, subset = rows.unique(dim=0, return_inverse=True)
    batch_size = min(batch_size, int(subsets.sum(dim=1).min()))
    steps = max(configuration.steps for configuration in configurations)
    plan = torch.stack([batch_plan(seen, steps, batch_size, seed) for seen in subsets])
    inputs = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    trained = inputs.new_zeros(count, classes, inputs.shape[1])
    update = (_AdamW if optimizer == "adamw" else _Sgd)(trained, configurations)
    for step in range(steps):
        batch = inputs[plan[:, step]][subset]
        residual = torch.bmm(batch, trained.transpose(1, 2)).softmax(dim=2)
        residual -= F.one_hot(labels[plan[:, step]], classes)[subset]
        update(trained, torch.bmm(residual.transpose(1, 2), batch) / batch_size, step)
    return trained[..., :-1].contiguous(), trained[..., -1].contiguous()


def cross_validate_linear_heads(
    features: Tensor,
    labels: Tensor,
    classes: int,
    configurations: Sequence[HeadConfiguration],
    folds: Tensor,
    **options,
) -> Tensor:
    """Out-of-fold scores (len(configurations), N, C); `folds` (N,) holds each row's fold.

    All configurations and folds are trained as one batch; options: those of `train_linear_heads`.
    """
    names = folds.unique()
    repeated = [configuration for configuration in configurations for _ in names]
    rows = (folds != names[:, None]).repeat(len(configurations), 1)
    weights, biases = train_linear_heads(features, labels, classes, repeated, rows, **options)
    weights = weights.unflatten(0, (len(configurations), len(names)))
    biases = biases.unflatten(0, (len(configurations), len(names)))
    scores = features.new_empty(len(configurations), len(features), classes)
    for f, name in enumerate(names):
        held = folds == name
        scores[:, held] = features[held] @ weights[:, f].transpose(1, 2) + biases[:, f, None]
    return scores


def batch_plan(rows: Tensor, steps: int, batch_size: int, seed: int) -> Tensor:
    """(steps, batch_size) indices of the rows of a mask (N,): one shuffled pass after another."""
    generator = torch.Generator().manual_seed(seed)
    indices = rows.nonzero()[:, 0]
    passes = math.ceil(steps * batch_size / len(indices))
    order = torch.cat([torch.randperm(len(indices), generator=generator) for _ in range(passes)])
    return indices[order[: steps * batch_size]].view(steps, batch_size)


class _Update:
    """Learning rates and decay of each head; a head is left alone after its last step."""

    def __init__(self, heads: Tensor, configurations: Sequence[HeadConfiguration]):
        def column(name):
            return torch.tensor([float(getattr(c, name)) for c in configurations])[:, None, None]

        self.peak, self.steps = column("learning_rate"), column("steps")
        self.decay = column("weight_decay").repeat(1, 1, heads.shape[2])
        self.decay[..., -1] = 0  # the bias
        self.mean = torch.zeros_like(heads)

    def rate(self, step: int) -> Tensor:
        """(H, 1, 1)"""
        return self.peak * (1 + torch.cos(math.pi * (step / self.steps).clamp_max(1))) / 2


class _AdamW(_Update):
    def __init__(self, heads: Tensor, configurations: Sequence[HeadConfiguration]):
        super().__init__(heads, configurations)
        self.square = torch.zeros_like(heads)

    def __call__(self, heads: Tensor, gradient: Tensor, step: int) -> None:
        rate = self.rate(step)
        self.mean.lerp_(gradient, 0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = self.square.div(1 - 0.999 ** (step + 1)).sqrt_().add_(1e-8)
        heads.mul_(1 - rate * self.decay)
        heads.sub_(self.mean.div(scale).mul_(rate / (1 - 0.9 ** (step + 1))))


class _Sgd(_Update):
    def __call__(self, heads: Tensor, gradient: Tensor, step: int) -> None:
        rate = self.rate(step)
        self.mean.mul_(0.9).add_(gradient)
        heads.mul_(1 - rate * self.decay)
        heads.sub_(self.mean.mul(rate))
