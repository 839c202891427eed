"""Rows of a dataset as batches that a model reads."""

from __future__ import annotations

import numpy as np
import torch

from ..data.dataset import Dataset
from ..models import Model
from ..models.tower import CACHED_DEPTH, CACHED_STATE
from .features import Encoder, Features


class Rows:
    """A dataset prepared for the towers of one model.

    batch(rows) gives a dict: for each modality the inputs of its first role, and those of its further roles by
    their names (`keys`: role -> where its inputs stand); `label` (B,) int64 where there are labels; `rows`
    (B,) int64, their identities; `weight` (B,) where there are weights; `modality`, which tower leads.
    """

    def __init__(self, model: Model, dataset: Dataset):
        self.dataset, self.model = dataset, model
        self.inputs, self.keys = {}, {}
        for role, kind in dataset.roles.items():
            if kind in model.towers:
                self.keys[role] = key = role if kind in self.inputs else kind
                self.inputs[key] = model.tower(kind).prepare(dataset, role)
        if not self.inputs:
            model.tower(dataset.modality)
        self.modality = dataset.modality
        self.labels = dataset.labels if "label" in dataset.roles else None
        has_weight = "weight" in dataset.roles
        self.weights = dataset.table["weight"].to_numpy(zero_copy_only=False) if has_weight else None
        self._states: Features | None = None
        self._depth = 0

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def lengths(self) -> np.ndarray:
        return self.inputs[self.modality].lengths

    def resume_from(self, depth: int, precision: str | None = None) -> None:
        """Compute the states that block `depth` reads once, and train from them: what is below is frozen."""
        if depth > 0:
            inputs = self.inputs[self.modality]
            encoder = Encoder(self.model, self.dataset, depth=depth, inputs=inputs, precision=precision)
            self._states, self._depth = encoder.features(), depth

    def batch(self, rows: np.ndarray) -> dict:
        batch: dict = {"modality": self.modality, "rows": torch.from_numpy(np.asarray(rows, dtype=np.int64))}
        for key, inputs in self.inputs.items():
            batch[key] = inputs.batch(rows)
        if self._states is not None:
            batch[self.modality][CACHED_STATE] = self._states.padded(np.asarray(rows))
            batch[self.modality][CACHED_DEPTH] = self._depth
        if self.labels is not None:
            batch["label"] = torch.from_numpy(self.labels[rows])
        if self.weights is not None:
            batch["weight"] = torch.from_numpy(self.weights[rows].astype(np.float32))
        return batch
