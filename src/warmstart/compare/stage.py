"""What the trials of one model share: data, draws, and every feature that needs computing once."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data.dataset import Dataset, Splits
from ..data.draws import draw
from ..engine.examples import Examples
from ..engine.features import Encoder
from ..engine.readout import encode_classes
from ..models import Model, fingerprint, load_model
from .request import Request

_SAMPLE = 64


class Stage:
    """One model before one data set.

    source: what `load_model` takes. name: what boards call it.
    pool: the training rows that any trial draws; `draws[(shots, seed)]` are rows of it. Only these and the
    rows that are tested are ever encoded. encode_seconds: what encoding took, by name of the rows.
    rehearsal: nothing is encoded for keeps: where features are not in the cache, a few rows stand in for all.
    """

    def __init__(self, source, splits: Splits, request: Request, name: str | None = None, rehearsal: bool = False):
        self.source, self.splits, self.request, self.rehearsal = source, splits, request, rehearsal
        self.name = short_name(source) if name is None else name
        labels = splits.train.labels
        asked = {
            (shots, seed): draw(labels, None if shots == "all" else shots, seed, splits.classes)
            for shots in request.shots
            for seed in range(request.seeds)
        }
        rows = np.unique(np.concatenate(list(asked.values())))
        self.pool: Dataset = splits.train.take(rows)
        self.draws = {key: np.searchsorted(rows, drawn) for key, drawn in asked.items()}
        self.encode_seconds: dict[str, float] = {}

    @cached_property
    def model(self) -> Model:
        model = _on_device(load_model(_own(self.source)))
        model.tower(self.pool.modality)
        return model

    @cached_property
    def random_model(self) -> Model:
        """The same architecture with random weights."""
        if isinstance(self.source, str):
            return _on_device(load_model(self.source, pretrained=False))
        return _on_device(load_model(_redrawn(self.source)))

    @cached_property
    def weights(self) -> str:
        """Content hash of the model's weights."""
        return fingerprint(self.model)

    @property
    def encoded_rows(self) -> dict[str, Dataset]:
        """`train` (the pool), `test`, and where given `shifted` and `unlabeled`."""
        splits = self.splits
        parts = {"train": self.pool, "test": splits.test, "shifted": splits.shifted, "unlabeled": splits.unlabeled}
        return {name: rows for name, rows in parts.items() if rows is not None and len(rows)}

    @cached_property
    def features(self) -> dict[str, Examples]:
        """Examples of `encoded_rows`."""
        if self.rehearsal and self.encode_estimate:
            return self._rehearsed()
        found = self._encode(self._encoders, "")
        self.truncated  # noqa: B018 - counted before the prepared inputs, which may be large, are dropped
        del self._encoders
        return found

    @cached_property
    def random_features(self) -> dict[str, Examples]:
        """The same of the random weights, where rows are learned from or tested."""
        if self.rehearsal and self.random_encode_estimate:
            return self._rehearsed()
        found = self._encode(self._random_encoders, "random ")
        del self._random_encoders
        return found

    @cached_property
    def encode_ms(self) -> float:
        """Milliseconds a row to encode, measured on a few test rows, whatever the cache holds."""
        sample = self.splits.test.take(np.arange(min(_SAMPLE, len(self.splits.test))))
        encoder = Encoder(self.model, sample, store=False)
        encoder.features()
        start = time.perf_counter()
        encoder.features()
        return 1000 * (time.perf_counter() - start) / len(sample)

    @cached_property
    def encode_estimate(self) -> float:
        """Seconds that encoding the rows which are not in the cache will take."""
        return self._estimate(self._encoders)

    @cached_property
    def random_encode_estimate(self) -> float:
        return self._estimate(self._random_encoders)

    def _estimate(self, encoders: dict[str, Encoder]) -> float:
        missing = sum(_not_cached(encoder) for encoder in encoders.values())
        return self.encode_ms * missing / 1000 if missing else 0.0

    @cached_property
    def truncated(self) -> int:
        """How many training and test rows are longer than the model reads."""
        return sum(self._encoders[name].inputs.truncated for name in ("train", "test"))

    @cached_property
    def _encoders(self) -> dict[str, Encoder]:
        return {name: Encoder(self.model, rows) for name, rows in self.encoded_rows.items()}

    @cached_property
    def _random_encoders(self) -> dict[str, Encoder]:
        rows = {name: rows for name, rows in self.encoded_rows.items() if name != "unlabeled"}
        return {name: Encoder(self.random_model, rows) for name, rows in rows.items()}

    def _encode(self, encoders: dict[str, Encoder], prefix: str) -> dict[str, Examples]:
        found = {}
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoded = encoder.features().pooled()
            self.encode_seconds[prefix + name] = time.perf_counter() - start
            found[name] = Examples(features=encoded, labels=_labels(encoder.dataset))
        return found

    def _rehearsed(self) -> dict[str, Examples]:
        """Stand-ins of the right shape: features of a few rows, again and again, with a little noise."""
        sample = self.pool.take(np.linspace(0, len(self.pool) - 1, min(_SAMPLE, len(self.pool))).astype(np.int64))
        encoded = Encoder(self.model, sample, store=False).features().pooled()
        generator = torch.Generator().manual_seed(0)
        found = {}
        for name, rows in self.encoded_rows.items():
            repeated = encoded[torch.arange(len(rows)) % len(encoded)]
            noise = torch.randn(repeated.shape, generator=generator) * encoded.std(0) / 4
            found[name] = Examples(features=repeated + noise, labels=_labels(rows))
        return found

    @cached_property
    def classes(self) -> Examples:
        """The class table: names, and their text features where the model can read text into the same space."""
        return encode_classes(self.model, tuple(self.splits.classes))

    def examples(self, shots, seed: int, *, random: bool = False) -> Examples:
        """The drawn training rows as features."""
        features = (self.random_features if random else self.features)["train"]
        return features.take(torch.from_numpy(self.draws[shots, seed]))

    def rows(self, shots, seed: int) -> Dataset:
        return self.pool.take(self.draws[shots, seed])


def make_stages(sources: Sequence, splits: Splits, request: Request, rehearsal: bool = False) -> list[Stage]:
    """A stage for every model, under names that tell them apart."""
    stages: list[Stage] = []
    for source in sources:
        name, count = short_name(source), 1
        while any(stage.name == name for stage in stages):
            count += 1
            name = f"{short_name(source)} ({count})"
        stages.append(Stage(source, splits, request, name, rehearsal))
    return stages


def short_name(source) -> str:
    """What boards call a model: `timm:mobilenetv2_100` without its settings, a folder by its last part."""
    if not isinstance(source, str):
        return type(source).__name__
    name = source.partition("?")[0].rstrip("/")
    return name.rpartition("/")[2] if Path(name).is_dir() else name


def _own(source):
    """Trials move and switch the model: an object of the user's is copied first."""
    return source if isinstance(source, str) else copy.deepcopy(source)


def _on_device(model: Model) -> Model:
    return model.to("cuda") if torch.cuda.is_available() else model


def _redrawn(module: nn.Module) -> nn.Module:
    """A copy with new random weights: as each layer initialises itself, else normal with deviation 0.02."""
    twin = copy.deepcopy(module)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for layer in twin.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
            else:
                for parameter in layer.parameters(recurse=False):
                    nn.init.normal_(parameter, std=0.02)
    return twin


def _not_cached(encoder: Encoder) -> int:
    keys = set(encoder.dataset.row_keys().tolist())
    for segment in encoder.store.segments():
        keys.difference_update(segment.keys.tolist())
    return len(keys)


def _labels(rows: Dataset) -> torch.Tensor | None:
    return torch.from_numpy(rows.labels) if "label" in rows.roles else None
