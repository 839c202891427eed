"""Class names or descriptions as the classifier."""

from __future__ import annotations

from torch import Tensor

from ..engine.examples import Examples, are_numbers
from ..engine.solvers.scaling import unit
from . import Predictor


class ZeroShot(Predictor):
    """Cosine with the text of each class; no labels are used.

    score_c = scale * cos(f, t_c), with t_c the features of the name or description of class c.

    Source: Radford et al. 2021 (CLIP, arXiv 2103.00020).
    Differs from the paper: `scale` is a constant, where CLIP learns it (to 100); sentence encoders are
    trained with 20. The search fits a temperature over it where there are labels.
    """

    def __init__(self, scale: float = 20.0):
        self.scale = scale

    @classmethod
    def unfit(cls, train: Examples, classes: Examples) -> str | None:
        if classes.names is not None and are_numbers(classes.names):
            return "the labels are numbers, not names: give names or descriptions of the classes"
        if classes.features is None:
            return "the model has no text tower in whose space class names could be compared with the rows"
        return None

    def fit(self, train: Examples, classes: Examples, unlabeled: Examples | None = None) -> ZeroShot:
        self.texts_ = unit(classes.features)
        return self

    def scores(self, queries: Examples) -> Tensor:
        return self.scale * unit(queries.features) @ self.texts_.T
