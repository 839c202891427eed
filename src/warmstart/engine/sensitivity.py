"""How much each weight matters to a loss: squared gradients, summed over batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .learner import Learner
from .step import Step
from .weights import ATTACHED


def squared_gradients(learner: Learner, tensors: Sequence[nn.Parameter], batches: int) -> list[Tensor]:
    """s = sum over batches of g^2 for every entry of these weights, g the gradient of the mean loss of a batch.

    To first order, a gradient step of rate e on an entry lowers the loss by e g^2. The model is in evaluation, and
    comes back as it was. What is attached to it learns meanwhile, one update a batch: a head that starts at zero
    passes no gradient on.
    Source: He et al. 2023 (arXiv 2303.08566).
    """
    sums = [torch.zeros_like(tensor) for tensor in tensors]
    frozen = [tensor for tensor in tensors if not tensor.requires_grad]
    with learner.trial():
        for tensor in frozen:
            tensor.requires_grad_(True)
        for index in range(batches):
            step = Step(index, batches, learner.settings.seed)
            learner.set_rates(step)
            batch = learner.batch(index)
            for turn in learner.turns(step):
                now = dataclasses.replace(step, turn=turn)
                _clear(tensors)
                learner.differentiate(batch, now)
                for total, tensor in zip(sums, tensors, strict=True):
                    if tensor.grad is not None:
                        total += tensor.grad.square()
                _clear(p for name, p in learner.model.trainable() if not name.startswith(ATTACHED))
                learner.descend(now)
        _clear(tensors)
        for tensor in frozen:
            tensor.requires_grad_(False)
    return sums


def _clear(tensors) -> None:
    for tensor in tensors:
        tensor.grad = None
