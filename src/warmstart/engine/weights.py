"""Weights of whole models: read, compared, tried out, composed with coefficients that train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ..models import Model
from . import loop
from .batches import to_device
from .learner import Learner
from .rows import Rows

ATTACHED = "attached."
_NORM = nn.modules.batchnorm._BatchNorm


def weights_of(model: Model) -> dict[str, Tensor]:
    """Every parameter, and every buffer of floating point, by name; no copies, no gradients."""
    buffers = {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    return {name: tensor.detach() for name, tensor in (model.weights() | buffers).items()}


def matching(base: Model, others: Mapping[str, Model], attached: bool) -> tuple[dict, list[dict]]:
    """(weights of the base, those of the others), by the names that all of them have.

    others: name -> model. attached: with what is attached to the models, which then must agree too; without, the
    backbones alone. Raises ValueError where a model is of another architecture.
    """
    wanted = {name: t for name, t in weights_of(base).items() if attached or not name.startswith(ATTACHED)}
    found = []
    for label, model in others.items():
        weights = weights_of(model)
        for name, tensor in wanted.items():
            if name not in weights or weights[name].shape != tensor.shape:
                has = "no such weight" if name not in weights else f"shape {tuple(weights[name].shape)}"
                raise ValueError(
                    f"@{label} is of another architecture: {name} has shape {tuple(tensor.shape)} in the model that "
                    f"it is merged with, and {has} in @{label}"
                )
        found.append({name: weights[name] for name in wanted})
    return wanted, found


@torch.no_grad()
def give(model: Model, weights: Mapping[str, Tensor]) -> None:
    """Write these values into the model's weights and buffers."""
    own = model.weights() | dict(model.named_buffers())
    for name, tensor in weights.items():
        own[name].copy_(tensor)


def line(start: Mapping[str, Tensor], end: Mapping[str, Tensor], place: float) -> dict[str, Tensor]:
    """(1 - place) start + place end."""
    return {name: torch.lerp(tensor, end[name], place) for name, tensor in start.items()}


def angle(first: Mapping[str, Tensor], second: Mapping[str, Tensor], origin: Mapping[str, Tensor]) -> float:
    """Degrees between first - origin and second - origin, all weights as one vector; 0 where one of them is zero."""
    a, b = (torch.cat([(w[n] - t).flatten().double() for n, t in origin.items()]) for w in (first, second))
    lengths = a.norm() * b.norm()
    return 0.0 if lengths == 0 else torch.rad2deg((a @ b / lengths).clamp(-1, 1).acos()).item()


@contextmanager
def trying(model: Model, weights: Mapping[str, Tensor], rows: Rows | None = None):
    """Inside, the model computes with these weights, its batch norms with what they find in these rows."""
    with model.with_weights({name: tensor.clone() for name, tensor in weights.items()}):
        if rows is not None:
            estimate_batch_norms(model, rows)
        yield


@torch.no_grad()
def estimate_batch_norms(model: Model, rows: Rows, batch_size: int = 64) -> None:
    """Mean and variance of every batch norm anew, as the mean over batches of these rows; nothing without any."""
    norms = [module for module in model.modules() if isinstance(module, _NORM) and module.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for part in np.array_split(np.arange(len(rows)), -(-len(rows) // batch_size)):
        batch = to_device(rows.batch(part), model.device)
        for modality in {model.tower(rows.dataset.roles[role]).modality for role in rows.keys}:
            model.encode(batch, modality)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def judged(learner: Learner, weights: Mapping[str, Tensor]) -> float:
    """`learner.validate` of its model with these weights."""
    with trying(learner.model, weights, learner.data):
        return learner.validate()


def learn_coefficients(
    learner: Learner,
    coefficients: nn.Module,
    compose: Callable[[], dict[str, Tensor]],
    before: Callable[[], None] | None = None,
    validate: Callable[[], float] | None = None,
    validate_every: int = 1,
) -> None:
    """Train these coefficients, and nothing else, for the steps of the learner's settings, through `compose`.

    before: called when everything stands, before the first update. validate: judges the coefficients, higher is
    better, every `validate_every` updates; the best ones are kept, the last ones where nothing judges.
    Raises ValueError without an objective.
    """
    if not learner.objectives:
        raise ValueError("coefficients are learned by an objective: write one, such as `objective: cross_entropy`")
    learner.reparametrize(coefficients, compose)
    try:
        if before is not None:
            before()
        if validate is not None:
            settings = learner.settings
            learner.settings = dataclasses.replace(settings, validate_every=validate_every, patience=settings.steps + 1)
        loop.train(learner, validate=validate)
    finally:
        del learner.model.attached["coefficients"]
        learner.cast.compose = None


def stacked(weights: Sequence[Mapping[str, Tensor]], names) -> dict[str, Tensor]:
    """name -> (M, *shape), one entry a model."""
    return {name: torch.stack([one[name] for one in weights]) for name in names}
