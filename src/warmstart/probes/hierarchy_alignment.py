"""Agreement with judgments at every level of a hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.readout import encode_rows
from ..engine.search import Fitted
from ..engine.triplets import factors_of, level_triplets, odd_logits
from . import Probe


class HierarchyAlignment(Probe):
    """How often the features leave the odd one of three test rows where a tree of factors does, level by level.

    Of a triplet of level l the first two share the factors up to l and not the next one, the third shares with them
    those before l alone: `family` tells a circle and a ring from a star, `shape` two circles from a ring.
    right_i = [ the pair most alike (cosine or dot product of features) is the first two ];  LEVEL = mean_i right_i
    Guessing is right in one of three.

    levels: roles from coarse to fine. triplets: of each level, drawn under `seed`.
    Reports each level's mean under its role's name, `mean` over them, and `examples` of each.
    Raises DataError where a role is missing, ValueError where no triplet of a level can be drawn.
    Source: Muttenthaler et al. 2024 (AligNet, arXiv 2409.06509), where people judged the triplets of three levels.
    """

    def __init__(
        self,
        levels: Sequence[str] = ("family", "shape", "colour"),
        triplets: int = 300,
        similarity: Literal["cosine", "dot"] = "cosine",
        seed: int = 0,
    ):
        if not levels or triplets < 1:
            raise ValueError(f"levels names at least one role and triplets is 1 or more, not {levels}, {triplets}")
        self.levels, self.triplets, self.similarity, self.seed = tuple(levels), triplets, similarity, seed

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        factors = factors_of(data.test, self.levels)
        features = encode_rows(cast.model, data.test).features
        right = {}
        for level, name in enumerate(self.levels):
            generator = np.random.default_rng([self.seed, level])
            drawn = level_triplets(factors, level, self.triplets, generator)
            if not len(drawn):
                raise ValueError(f"{data.test.name}: no three rows where {name} alone tells the odd one")
            logits = odd_logits(*(features[drawn[:, k]] for k in range(3)), self.similarity)
            right[name] = (logits.argmax(1) == 2).double().tolist()
        report = {name: float(np.mean(values)) for name, values in right.items()}
        return report | {"mean": float(np.mean(list(report.values()))), "examples": right}
