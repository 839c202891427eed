"""What the trials of one model share: data, draws, and every feature that needs computing once."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path

import numpy as np

from ..data.dataset import Dataset, Splits
from ..data.draws import draw
from ..engine.examples import Examples
from ..engine.features import Encoder
from ..models import Model, load_model
from .request import Request


class Stage:
    """One model before one data set.

    pool: the training rows that any trial draws; `draws[(shots, seed)]` are rows of it. Only these and the
    rows that are tested are ever encoded. encode_seconds: what encoding took, by name of the rows.
    """

    def __init__(self, source, splits: Splits, request: Request):
        self.source, self.splits, self.request = source, splits, request
        self.name = short_name(source)
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
        model = load_model(self.source)
        model.tower(self.pool.modality)
        return model

    @cached_property
    def random_model(self) -> Model:
        return load_model(self.source, pretrained=False)

    @cached_property
    def features(self) -> dict[str, Examples]:
        """Examples of `train` (the pool), `test`, and where given `shifted` and `unlabeled`."""
        return self._encode(self.model, "")

    @cached_property
    def random_features(self) -> dict[str, Examples]:
        return self._encode(self.random_model, "random ")

    @cached_property
    def encode_ms(self) -> float:
        """Milliseconds a row to encode, measured on a few test rows, whatever the cache holds."""
        sample = self.splits.test.take(np.arange(min(64, len(self.splits.test))))
        encoder = Encoder(self.model, sample, store=False)
        encoder.features()
        start = time.perf_counter()
        encoder.features()
        return 1000 * (time.perf_counter() - start) / len(sample)

    @cached_property
    def truncated(self) -> int:
        """How many training and test rows are longer than the model reads."""
        tower = self.model.tower(self.pool.modality)
        return sum(tower.prepare(rows, rows.input_role).truncated for rows in (self.pool, self.splits.test))

    def _encode(self, model: Model, prefix: str) -> dict[str, Examples]:
        found = {}
        parts = {
            "train": self.pool,
            "test": self.splits.test,
            "shifted": self.splits.shifted,
            "unlabeled": self.splits.unlabeled,
        }
        for name, rows in parts.items():
            if rows is None or not len(rows):
                continue
            start = time.perf_counter()
            encoded = Encoder(model, rows).features().pooled()
            self.encode_seconds[prefix + name] = time.perf_counter() - start
            labels = self.labels_of(rows)
            found[name] = Examples(features=encoded, labels=labels)
        return found

    @staticmethod
    def labels_of(rows: Dataset):
        import torch

        return torch.from_numpy(rows.labels) if "label" in rows.roles else None

    @cached_property
    def classes(self) -> Examples:
        """The class table: names, and their text features where the model can read text into the same space."""
        names = self.splits.classes
        features = None
        if "text" in self.model.towers and not all(_is_number(name) for name in names):
            import pyarrow as pa

            images = "image" in self.model.towers
            texts = [f"a photo of a {_words(n)}." if images else _words(n) for n in names]
            table = Dataset(pa.table({"text": texts}), {"text": "text"}, name="class names")
            features = Encoder(self.model, table, store=False).features().pooled()
        return Examples(features=features, names=tuple(names))

    def examples(self, shots, seed: int, *, random: bool = False) -> Examples:
        """The drawn training rows as features."""
        import torch

        features = (self.random_features if random else self.features)["train"]
        return features.take(torch.from_numpy(self.draws[shots, seed]))

    def rows(self, shots, seed: int) -> Dataset:
        return self.pool.take(self.draws[shots, seed])


def short_name(source) -> str:
    """What boards call a model: `timm:mobilenetv2_100` without its settings, a folder by its last part."""
    if not isinstance(source, str):
        return type(source).__name__
    name = source.partition("?")[0].rstrip("/")
    return name.rpartition("/")[2] if Path(name).is_dir() else name


def _words(name: str) -> str:
    return name.replace("_", " ").strip() or "nothing"


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
