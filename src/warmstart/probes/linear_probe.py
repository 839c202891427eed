"""How much a readout of frozen features knows."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import torch

from ..data.dataset import DataError, Dataset, Splits
from ..data.draws import draw
from ..engine.cast import Cast
from ..engine.readout import encode_classes, encode_rows, fit_predictor, labelled
from ..engine.search import Fitted
from ..predictors import Predictor
from . import Probe


class LinearProbe(Probe):
    """Accuracy of a predictor fitted on the model's frozen features.

    accuracy = mean_i [argmax_c s_c(f(x_i)) = y_i] over the test rows, s fitted on the training rows; nll in nats.

    predictor: what reads the features out; parameters that are not given are searched by cross-validation.
    role: the column that is read out: `label`, or another whose values are classes (`group`, `domain`).
    shots: training rows of each class, drawn under `seed`; None for all.
    Raises DataError where the data has no such column.
    Source: Alain and Bengio 2016 (arXiv 1610.01644).
    Differs from the paper: pooled features of the last layer, not one probe for each layer.
    """

    def __init__(self, predictor: Predictor = "logistic", role: str = "label", shots: int | None = None, seed: int = 0):
        self.predictor, self.role, self.shots, self.seed = predictor, role, shots, seed

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        train, test = (data.train, data.test) if self.role == "label" else self._relabelled(data)
        train = train.take(labelled(train) if self.shots is None else draw(train.labels, self.shots, self.seed))
        test = test.take(labelled(test))
        classes = encode_classes(cast.model, train.classes)
        readout = fit_predictor(self.predictor, encode_rows(cast.model, train), classes, seed=self.seed)
        queries = encode_rows(cast.model, test)
        log_probabilities = readout.scores(queries).double().log_softmax(1)
        right = log_probabilities.argmax(1) == queries.labels
        nll = torch.nn.functional.nll_loss(log_probabilities, queries.labels)
        return {"accuracy": right.double().mean().item(), "nll": nll.item(), "train_rows": len(train)}

    def _relabelled(self, data: Splits) -> tuple[Dataset, Dataset]:
        """Both splits with this role's values as labels; test values that training does not have are unlabelled."""
        for rows in (data.train, data.test):
            if self.role not in rows.table.column_names:
                raise DataError(f"{rows.name}: no column {self.role!r}; it has: {', '.join(rows.roles)}")
        names = sorted({str(value) for value in data.train.table[self.role].to_pylist() if value is not None})
        ids = {name: i for i, name in enumerate(names)}
        found = []
        for rows in (data.train, data.test):
            labels = pa.array([ids.get(str(value), -1) for value in rows.table[self.role].to_pylist()], pa.int64())
            table = rows.table.drop_columns(["label"]) if "label" in rows.table.column_names else rows.table
            roles = {**{name: kind for name, kind in rows.roles.items() if name != "label"}, "label": "label"}
            found.append(replace(rows, table=table.append_column("label", labels), roles=roles, classes=tuple(names)))
        return found[0], found[1]
