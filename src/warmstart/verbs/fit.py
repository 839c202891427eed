"""Fit a predictor on the frozen model's features."""

from __future__ import annotations

import json

from safetensors.torch import load_file, save

from ..data.draws import draw
from ..engine.atomic import write_atomic
from ..engine.readout import encode_classes, encode_rows, fit_predictor, labelled
from ..engine.search import restore
from ..predictors import Predictor
from .state import State

CHOICE, TENSORS = "fitted.json", "fitted.safetensors"


def fit(
    state: State, predictor: Predictor = "logistic", data: str = "labeled", shots: int | None = None, folds: int = 5
) -> dict:
    """Fit a predictor, which answers from here on until the model changes.

    predictor: its parameters that are not given are searched by cross-validation on the training rows.
    data: `labeled` or `@step`. shots: labelled rows of each class, drawn by the run's seed; None for all.
    folds: of the cross-validation, at most.
    Raises ValueError where the predictor does not apply.
    """
    fitted = _saved(state, predictor)
    if fitted is None:
        rows = state.rows(data)
        rows = rows.take(labelled(rows) if shots is None else draw(rows.labels, shots, state.seed, rows.classes))
        model = state.model
        given = state.data.unlabeled
        unlabeled = encode_rows(model, given) if given is not None and len(given) else None
        classes = encode_classes(model, rows.classes)
        fitted = fit_predictor(predictor, encode_rows(model, rows), classes, unlabeled, folds=folds, seed=state.seed)
        if state.folder is not None and state.main:
            tensors = {name: tensor.contiguous() for name, tensor in fitted.state().items()}
            write_atomic(state.folder / TENSORS, save(tensors))
            write_atomic(state.folder / CHOICE, json.dumps(fitted.description()).encode())
    state.fitted = state.made = fitted
    return fitted.description()


def _saved(state: State, predictor: Predictor):
    if state.folder is None or not (state.folder / CHOICE).exists():
        return None
    description = json.loads((state.folder / CHOICE).read_text())
    return restore(type(predictor), description, load_file(state.folder / TENSORS))
