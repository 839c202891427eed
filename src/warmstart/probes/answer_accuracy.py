"""How many of the asked answers a language model writes."""

from __future__ import annotations

import numpy as np
import torch

from ..data.dataset import DataError, Dataset, Splits
from ..engine.batches import to_device
from ..engine.cast import Cast
from ..engine.precision import inference
from ..engine.rows import Rows
from ..engine.search import Fitted
from . import Probe

_BATCH = 64


class AnswerAccuracy(Probe):
    """Share of the rows whose answer is what the model writes greedily behind their text, to the last token.

    right_i = all over t of [argmax p(. | text_i, answer_i,<t) = answer_it]; the end token counts
    With the true tokens before each token, all of them right is what greedy decoding writing the answer is.

    role: the text that is to be written. source: what it is written from; None takes the first other text, or what an
        encoder-decoder reads. rows: `train`, `val`, `test`, `shifted`, or `@step`. by: a column, each of whose values
        is reported too, as `COLUMN_VALUE`.
    `examples` holds each row's 0 or 1.
    Raises LookupError where there are no such rows, DataError where they have no such texts.
    Source: exact match as in Rajpurkar et al. 2016 (arXiv 1606.05250).
    """

    def __init__(
        self, role: str = "answer", source: str | None = None, rows: str | Dataset = "test", by: str | None = None
    ):
        self.role, self.source, self.rows, self.by = role, source, rows, by

    @torch.no_grad()
    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        model, dataset = cast.model, getattr(data, self.rows, None) if isinstance(self.rows, str) else self.rows
        if dataset is None:
            raise LookupError(f"the data has no {self.rows} rows")
        source = self._source(model, dataset)
        rows, targets, right = Rows(model, dataset), model.language.prepare(dataset, self.role), []
        with inference(model.backbone, model.device, "no"):
            for part in np.array_split(np.arange(len(rows)), -(-len(rows) // _BATCH)):
                answer = to_device(targets.batch(part), model.device)
                ids, mask = answer["input_ids"], answer["attention_mask"].bool()
                if model.language.tokens.bos is not None and bool((ids[:, 0] == model.language.tokens.bos).all()):
                    ids, mask = ids[:, 1:], mask[:, 1:]
                scores = model.language.target_scores(to_device(rows.batch(part), model.device), ids, rows.keys[source])
                right += ((scores.argmax(-1) == ids) | ~mask).all(1).float().tolist()
        examples = {"accuracy": right}
        for value, one in zip(self._values(dataset), right, strict=True) if self.by is not None else ():
            examples.setdefault(f"{self.by}_{value}", []).append(one)
        return {name: sum(values) / len(values) for name, values in examples.items()} | {"examples": examples}

    def _source(self, model, dataset: Dataset) -> str:
        reads = model.tower().modality
        source = self.source or next((r for r, kind in dataset.roles.items() if kind == reads and r != self.role), None)
        for role, kind in ((self.role, "text"), (source, reads)):
            if dataset.roles.get(role) != kind:
                raise DataError(f"{dataset.name}: no {kind} column {role!r}; it has: {', '.join(dataset.roles)}")
        return source

    def _values(self, dataset: Dataset) -> list:
        if self.by not in dataset.table.column_names:
            raise DataError(f"{dataset.name}: no column {self.by!r}; it has: {', '.join(dataset.roles)}")
        return dataset.table[self.by].to_pylist()
