"""Features of the rows as they are when a training begins, beside the rows in every batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..models import Model
from .examples import Examples
from .readout import encode_rows
from .rows import Rows


def keep_features(model: Model, data: Rows, key: str) -> Examples:
    """Encode all rows of a training once; its batches hold their features (B, D) under this key from here on.

    Returns the features with their labels. Batches of other rows, as of a validation, do not have the key.
    """
    found = encode_rows(model, data.dataset)
    data.add(key, _Kept(found.features, data.lengths))
    return found


class _Kept:
    """(N, D) as inputs of rows."""

    def __init__(self, features: Tensor, lengths: np.ndarray):
        self.features, self.lengths = features, lengths

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, rows: np.ndarray) -> Tensor:
        return self.features[torch.from_numpy(np.asarray(rows))]
