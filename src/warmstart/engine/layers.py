"""What every block of a model says of rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..models import Model
from .batches import to_device
from .precision import inference
from .rows import Rows

_BATCH = 32


def block_states(model: Model, dataset: Dataset) -> Iterator[tuple[dict, list[Tensor], Tensor]]:
    """By batches: the batch, the states (B, T, D) after every block, and (B, T) bool, True at real tokens.

    A convolutional block's map (B, C, H, W) is given as (B, H W, C). Raises ValueError where the blocks are not known.
    """
    rows = Rows(model, dataset)
    tower = model.tower(rows.modality)
    if not tower.depth:
        raise ValueError(f"the blocks of this {rows.modality} encoder are not known")
    names = [f"block.{i}" for i in range(tower.depth)]
    for part in np.array_split(np.argsort(rows.lengths, kind="stable"), -(-len(rows) // _BATCH)):
        batch = to_device(rows.batch(part), model.device)
        # Not around the loop: what is switched off here must not be off for who reads this.
        with inference(tower.module, model.device, "no"):
            encoding = model.encode(batch, keep=names)
        states = [_tokens(encoding.states[name]).float() for name in names]
        real = torch.ones(states[0].shape[:2], dtype=torch.bool, device=states[0].device)
        yield batch, states, real if encoding.mask is None else encoding.mask


def pooled_states(model: Model, dataset: Dataset) -> list[Tensor]:
    """For every block (N, D) float32: the mean over real tokens of its states, in the order of the rows."""
    places, found = [], []
    for batch, states, real in block_states(model, dataset):
        places.append(batch["rows"])
        weights = real.unsqueeze(-1).float()
        weights = weights / weights.sum(1, keepdim=True).clamp_min(1)
        found.append(
            [(state * weights).sum(1) if state.shape[1] == real.shape[1] else state.mean(1) for state in states]
        )
    order = torch.cat(places).argsort()
    return [torch.cat(of_block)[order].cpu() for of_block in zip(*found, strict=True)]


def _tokens(state: Tensor) -> Tensor:
    return state.flatten(2).transpose(1, 2) if state.ndim == 4 else state
