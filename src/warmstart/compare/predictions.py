"""Every test row's prediction and confidence per method, model, shots and seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from ..data.dataset import DataError
from ..engine.atomic import write_atomic

SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("model", pa.string()),
        ("shots", pa.string()),
        ("seed", pa.int32()),
        ("split", pa.string()),
        ("row", pa.int32()),
        ("label", pa.int32()),
        ("prediction", pa.int32()),
        ("confidence", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Cell:
    """Everything predicted on one split at one number of shots, as arrays.

    arms: M pairs (method, model). seeds: S. rows: (N,) indices into the split, ascending. labels: (N,) int64.
    predictions: (M, S, N) int32, -1 where missing. confidence: (M, S, N) float32, NaN where missing.
    present: (M, S) bool, whether the trial answered every row; half-answered trials do not count.
    """

    arms: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...]
    rows: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    confidence: np.ndarray
    present: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """(M, S, N) float32: 1 right, 0 wrong, NaN throughout a missing trial."""
        correct = (self.predictions == self.labels).astype(np.float32)
        correct[~self.present] = np.nan
        return correct

    def take(self, arms: np.ndarray) -> Cell:
        """The arms at these indices (or under this mask)."""
        index = np.arange(len(self.arms))[arms]
        return Cell(
            tuple(self.arms[i] for i in index),
            self.seeds,
            self.rows,
            self.labels,
            self.predictions[index],
            self.confidence[index],
            self.present[index],
        )


@dataclass(frozen=True)
class Predictions:
    """The long table of `predictions.parquet` (columns: SCHEMA; `shots` is a number or "all", as text).

    Each trial writes a file of its own, DIR/trials/ID.parquet, so that workers never share one; the board joins
    them in the order of these names, whichever trial finished first.
    """

    table: pa.Table

    @classmethod
    def empty(cls) -> Predictions:
        return cls(SCHEMA.empty_table())

    @classmethod
    def of(
        cls,
        method: str,
        model: str,
        shots: int | str,
        seed: int,
        split: str,
        labels: np.ndarray,
        predictions: np.ndarray,
        confidence: np.ndarray,
        rows: np.ndarray | None = None,
    ) -> Predictions:
        """One trial on one split ("test", "shifted"); rows: indices into it, all in order by default."""
        size = len(labels)
        rows = np.arange(size) if rows is None else rows
        columns = {
            "method": [method] * size,
            "model": [model] * size,
            "shots": [str(shots)] * size,
            "seed": np.full(size, seed, np.int32),
            "split": [split] * size,
            "row": np.asarray(rows, np.int32),
            "label": np.asarray(labels, np.int32),
            "prediction": np.asarray(predictions, np.int32),
            "confidence": np.asarray(confidence, np.float32),
        }
        return cls(pa.table(columns, schema=SCHEMA))

    @classmethod
    def join(cls, parts: Iterable[Predictions]) -> Predictions:
        return cls(pa.concat_tables([SCHEMA.empty_table(), *(part.table for part in parts)]))

    @classmethod
    def read(cls, path: str | Path) -> Predictions:
        """Raises DataError where the file is not such a table."""
        import pyarrow.parquet as pq

        try:
            return cls(pq.read_table(path, partitioning=None).select(SCHEMA.names).cast(SCHEMA))
        except (pa.ArrowException, KeyError, OSError) as error:
            raise DataError(f"{path}: not a table of predictions: {str(error).splitlines()[0]}") from error

    def write(self, path: str | Path) -> Path:
        """Atomic; raises DataError where the disk refuses."""
        import pyarrow.parquet as pq

        buffer = pa.BufferOutputStream()
        pq.write_table(self.table, buffer, compression="zstd")
        return write_atomic(path, memoryview(buffer.getvalue()))

    @staticmethod
    def trial_path(directory: str | Path, trial: str) -> Path:
        # names of models hold slashes and colons
        return Path(directory) / "trials" / f"{quote(trial, safe='')}.parquet"

    @classmethod
    def append(cls, directory: str | Path, trial: str, parts: Iterable[Predictions]) -> Path:
        """Saves all that one trial predicted; the same trial again replaces it."""
        return cls.join(parts).write(cls.trial_path(directory, trial))

    def cell(self, shots: int | str, model: str | None = None, split: str = "test") -> Cell:
        """The arms of all models (or one) with these shots. Raises DataError where a row has two labels."""
        import pyarrow.compute as pc

        chosen = pc.and_(pc.equal(self.table["shots"], str(shots)), pc.equal(self.table["split"], split))
        if model is not None:
            chosen = pc.and_(chosen, pc.equal(self.table["model"], model))
        table = self.table.filter(chosen)
        method, methods = _codes(table["method"])
        base, models = _codes(table["model"])
        pairs, arm = np.unique(base * max(len(methods), 1) + method, return_inverse=True)
        seeds, seed = np.unique(table["seed"].to_numpy(), return_inverse=True)
        rows, first, row = np.unique(table["row"].to_numpy(), return_index=True, return_inverse=True)
        labels = table["label"].to_numpy()
        if (labels != labels[first][row]).any():
            raise DataError(f"predictions of split {split} disagree about the labels: they are of different data")
        shape = (len(pairs), len(seeds), len(rows))
        predictions, confidence = np.full(shape, -1, np.int32), np.full(shape, np.nan, np.float32)
        answered = np.zeros(shape, bool)
        answered[arm, seed, row] = True
        predictions[arm, seed, row] = table["prediction"].to_numpy()
        confidence[arm, seed, row] = table["confidence"].to_numpy()
        return Cell(
            tuple((methods[p % len(methods)], models[p // len(methods)]) for p in pairs),
            tuple(seeds.tolist()),
            rows,
            labels[first].astype(np.int64),
            predictions,
            confidence,
            answered.all(2),
        )


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Indices into the sorted distinct values, and these."""
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = np.argsort(np.array(names, dtype=str))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank[encoded.indices.to_numpy()], [names[i] for i in order]
