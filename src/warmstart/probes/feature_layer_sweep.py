"""Where in a model a property of its inputs can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import DataError, Dataset, Splits
from ..engine.cast import Cast
from ..engine.examples import Examples
from ..engine.layers import block_states, pooled_states
from ..engine.readout import fit_predictor
from ..engine.search import Fitted
from ..models import Model
from ..predictors import Predictor
from . import Probe

TOKEN = "token"
_SEEN = 5


class FeatureLayerSweep(Probe):
    """Accuracy of a readout of each block's frozen states, for several properties.

    accuracy_l(p) = mean over test rows of [argmax_c s_lc(h_l(x)) = p(x)],  s_l fitted on training rows

    properties: `label` or any other column whose values are classes, read from the mean over a row's tokens; `token`,
        the identity of a token read from its own state, among tokens that occur 5 times or more in those read.
    predictor: s; what is not given is searched by cross-validation. rows: training and test rows, at most, the first
        ones. tokens: of them, how many, drawn under `seed`.
    Reports for every property p the list `p`, by depth; `p.block.l`, counted from 0; `p.best`, the largest, and
    `p.where`, the depth (l + 1) / L at which it first stands.
    Raises DataError where the data has no such column, ValueError where the blocks are not known or a property has
    one value only.
    Source: Shi et al. 2023 (arXiv 2304.05216); Alain and Bengio 2016 (arXiv 1610.01644).
    Differs from the paper: a readout of each block, where the paper reads a learned mixture of all of them.
    """

    def __init__(
        self,
        properties: Sequence[str] = ("label",),
        predictor: Predictor = "ridge",
        rows: int = 500,
        tokens: int = 2000,
        seed: int = 0,
    ):
        self.properties, self.predictor, self.rows = tuple(properties), predictor, rows
        self.tokens, self.seed = tokens, seed

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        splits = [one.take(np.arange(min(len(one), self.rows))) for one in (data.train, data.test)]
        report: dict = {}
        columns = [name for name in self.properties if name != TOKEN]
        if columns:
            states = [pooled_states(cast.model, one) for one in splits]
            for name in columns:
                values = [_values(one, name) for one in splits]
                report |= self._of(name, list(zip(*states, strict=True)), values)
        if TOKEN in self.properties:
            states = [_token_states(cast.model, one, self.tokens, self.seed + i) for i, one in enumerate(splits)]
            blocks = list(zip(*(found for found, _ in states), strict=True))
            report |= self._of(TOKEN, blocks, [ids for _, ids in states])
        return report

    def _of(self, name: str, blocks: list[tuple[Tensor, Tensor]], values: list[list]) -> dict:
        """blocks: states of training and of test examples, by depth. values: the property of these."""
        train, test, names = _as_classes(name, *values)
        found = []
        for states in blocks:
            known = [Examples(features=s[y >= 0], labels=y[y >= 0]) for s, y in zip(states, (train, test), strict=True)]
            readout = fit_predictor(self.predictor, known[0], Examples(names=names), seed=self.seed)
            found.append(float((readout.scores(known[1]).argmax(1) == known[1].labels).double().mean()))
        first = int(np.argmax(found))
        report = {name: found, f"{name}.best": found[first], f"{name}.where": (first + 1) / len(found)}
        return report | {f"{name}.block.{i}": value for i, value in enumerate(found)}


def _values(data: Dataset, name: str) -> list:
    """One value a row, None where it is missing."""
    if name not in data.table.column_names:
        raise DataError(f"{data.name}: no column {name!r} to read out; it has: {', '.join(data.roles)}")
    if name == "label":
        return [None if label < 0 else int(label) for label in data.labels]
    return data.table[name].to_pylist()


def _as_classes(name: str, train: list, test: list) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Ids of training and test values, -1 where a value is missing or training lacks it; the values' names."""
    counts = {value: train.count(value) for value in set(train) if value is not None}
    least = _SEEN if name == TOKEN else 1
    kept = sorted((value for value, count in counts.items() if count >= least), key=str)
    if len(kept) < 2:
        raise ValueError(f"{name} has {len(kept)} values to tell apart in these rows: 2 are needed")
    ids = {value: i for i, value in enumerate(kept)}
    found = [torch.tensor([ids.get(value, -1) for value in values]) for values in (train, test)]
    return found[0], found[1], tuple(str(value) for value in kept)


def _token_states(model: Model, data: Dataset, count: int, seed: int) -> tuple[list[Tensor], list[int]]:
    """For every block (M, D), and the M tokens' ids: of all real ordinary tokens so many, drawn."""
    special = model.tokens.special
    found = list(_ordinary(model, data, special))
    ids = torch.cat([one for _, one in found])
    drawn = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))[:count]
    blocks = zip(*(states for states, _ in found), strict=True)
    return [torch.cat(of_block)[drawn] for of_block in blocks], ids[drawn].tolist()


def _ordinary(model: Model, data: Dataset, special: Tensor) -> Iterator[tuple[list[Tensor], Tensor]]:
    for batch, states, real in block_states(model, data):
        ids = batch["text"]["input_ids"]
        kept = real.bool() & ~special.to(ids.device)[ids]
        yield [state[kept].cpu() for state in states], ids[kept].cpu()
