"""How alike the two texts of a row are, by one model read in two ways."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..data.dataset import DataError, Dataset
from ..models import Model, ModelError
from .batches import to_device
from .rows import Rows

Formulation = Literal["bi", "cross"]
HEAD = "pair_head"
_PAIR, _SWAPPED = "pair", "pair_swapped"
_SCORED_AT_ONCE = 64


class PairScores:
    """Scores (B,) float32 of rows with two texts.

    bi:    cos(f(a), f(b)), each text encoded alone
    cross: head(f([a; b])), both read together; a logit, whose sigmoid is the score
    f is the tower's pooled output, the head (linear, GELU, linear) is attached to the model as `pair_head`.

    data: the rows; what a cross-encoder reads is added to their batches. roles: the two texts; None for the first two.
    Raises DataError where the rows have no two texts, ModelError where the model reads no pairs of them.
    """

    def __init__(self, data: Rows, formulation: Formulation, roles: tuple[str, str] | None = None):
        first, second = roles or _two_texts(data.dataset)
        for role in (first, second):
            if role not in data.keys:
                raise DataError(f"{data.dataset.name}: no text column {role!r}; it has: {', '.join(data.keys)}")
        self.formulation, self.keys = formulation, (data.keys[first], data.keys[second])
        self.modality = data.dataset.roles[first]
        if formulation == "cross":
            tower = data.model.tower(self.modality)
            if tower.prepare_pair is None:
                raise ModelError(f"{data.model.source} does not read two texts as one")
            data.add(_PAIR, tower.prepare_pair(data.dataset, first, second))
            data.add(_SWAPPED, tower.prepare_pair(data.dataset, second, first))

    def attach(self, model: Model, data: Rows) -> None:
        """The head of a cross-encoder, where there is none yet."""
        if self.formulation == "cross" and HEAD not in model.attached:
            with torch.no_grad():
                width = model.tower(self.modality).encode(data.batch(np.array([0]))[_PAIR]).pooled.shape[1]
            model.attach(HEAD, "mlp", width=width, hidden=width, outputs=1)

    def raw(self, model: Model, batch: dict, swapped: bool = False) -> Tensor:
        """Cosines, or logits; `swapped` reads the second text first."""
        tower = model.tower(self.modality)
        if self.formulation == "bi":
            a, b = (tower.encode(batch[key]).pooled.float() for key in self.keys)
            return nn.functional.cosine_similarity(a, b, dim=-1)
        return model.attached[HEAD](tower.encode(batch[_SWAPPED if swapped else _PAIR]).pooled).float().squeeze(-1)

    @torch.no_grad()
    def of_all(self, model: Model, data: Rows) -> Tensor:
        """(N,) scores of all rows, on the CPU: cosines, or probabilities."""
        if self.formulation == "cross" and HEAD not in model.attached:
            raise ModelError(f"{model.source} is no cross-encoder yet: it has no {HEAD}")
        training = model.training
        model.eval()
        order = np.argsort(data.lengths, kind="stable")
        found = torch.empty(len(data))
        for start in range(0, len(order), _SCORED_AT_ONCE):
            rows = order[start : start + _SCORED_AT_ONCE]
            scores = self.raw(model, to_device(data.batch(rows), model.device)).cpu()
            found[torch.from_numpy(rows)] = scores.sigmoid() if self.formulation == "cross" else scores
        model.train(training)
        return found


def _two_texts(data: Dataset) -> tuple[str, str]:
    texts = [role for role, kind in data.roles.items() if kind == "text"]
    if len(texts) < 2:
        raise DataError(f"{data.name}: pairs need two text columns; it has: {', '.join(data.roles)}")
    return texts[0], texts[1]
