"""Does what was learned in one language answer in another?"""

from __future__ import annotations

import numpy as np
import torch

from ..data.dataset import DataError, Splits
from ..engine.batches import to_device
from ..engine.cast import Cast
from ..engine.readout import labelled
from ..engine.rows import Rows
from ..engine.scores import scores
from ..engine.search import Fitted
from . import Probe

_BATCH = 64


class CrossLingualTransfer(Probe):
    """Accuracy of the attached head where the text tower reads another column of the same rows.

    accuracy_r = mean over labelled test rows of [argmax_c h(f(text_r)) = y];  gap = accuracy_source - accuracy_target

    source: the column in the language of the labels; None for the first text. target: the one in the other language.
    Report: `source`, `target`, `gap`; `examples` holds each row's answers as 0 or 1.
    Raises DataError where the data has no such text, ValueError where nothing answers.
    Source: the zero-shot protocol of XTREME, Hu et al. 2020 (arXiv 2003.11080).
    """

    def __init__(self, target: str, source: str | None = None):
        self.target, self.source = target, source

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        model, test = cast.model, data.test.take(labelled(data.test))
        texts = [role for role, kind in test.roles.items() if kind == "text"]
        source = self.source if self.source is not None else next(iter(texts), None)
        for role in (source, self.target):
            if role not in texts:
                raise DataError(f"{test.name}: no text column {role!r}; it has: {', '.join(texts) or 'none'}")
        rows = Rows(model, test)
        right = {name: _right(model, rows, role) for name, role in (("source", source), ("target", self.target))}
        report = {name: float(np.mean(values)) for name, values in right.items()}
        return report | {"gap": report["source"] - report["target"], "examples": right}


@torch.no_grad()
def _right(model, rows: Rows, role: str) -> list[float]:
    found = []
    for part in np.array_split(np.arange(len(rows)), -(-len(rows) // _BATCH)):
        batch = to_device(rows.batch(part), model.device)
        batch |= {"modality": "text", "text": batch[rows.keys[role]]}
        found += (scores(model, batch).argmax(1) == batch["label"]).float().tolist()
    return found
