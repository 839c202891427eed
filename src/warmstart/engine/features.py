"""Rows seen through a frozen tower, computed once: pooled features, or the states before a block."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import DataError, Dataset
from ..models import Model, Tower, fingerprint
from ..models.reading import columns_read, reading
from .precision import best_precision, inference
from .store import Segment, Store, spill

# One batch shape for each padded width: more rows would compute faster, and fill up more of a rare width's batch.
BATCH_ROWS = 32
BATCH_TOKENS = 512
_WIDTH_STEP = 8
_WIDE = 64
_IN_MEMORY = 1 << 26


@dataclass(frozen=True)
class Features:
    """What a tower computed for N rows: row i owns entries starts[i]:starts[i+1] of `data`."""

    data: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def pooled(self, rows: np.ndarray | None = None) -> Tensor:
        """(N, D) float32 of features that have one entry a row; all of them are mapped from disk, not read."""
        return torch.from_numpy(self.data if rows is None else self.data[rows])

    def padded(self, rows: np.ndarray) -> Tensor:
        """The states of these rows: (B, T, D) padded with zeros on the right, or (B, C, H, W)."""
        if len(self.data) == len(self):
            return torch.from_numpy(self.data[rows])
        counts = np.diff(self.starts)[rows]
        out = np.zeros((len(rows), int(counts.max()), *self.data.shape[1:]), np.float32)
        for i, row in enumerate(rows):
            out[i, : counts[i]] = self.data[self.starts[row] : self.starts[row + 1]]
        return torch.from_numpy(out)


class Encoder:
    """Encodes rows of one dataset through one tower, by batches of fixed shape, through the cache.

    A row's value does not depend on the rows beside it: rows are grouped by padded width, all batches of a width
    have the same number of rows (the last is filled up), and matrix kernels compute a row the same way wherever
    it stands in a batch of one shape. So features repeat bit for bit, whichever rows are asked for.

    depth: None for pooled features; else the states that block `depth` reads.
    precision: `bf16` or `no`; None for the hardware's best.
    What a model reads of other columns (a row's task) belongs to the row as its inputs do, in the cache too.
    Raises DataError where the dataset does not have such a column.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        *,
        depth: int | None = None,
        inputs=None,
        store: bool = True,
        precision: str | None = None,
    ):
        self.tower: Tower = model.tower(dataset.modality)
        self.dataset, self.depth, self.device = dataset, depth, model.device
        self.precision = precision or best_precision()
        self.inputs = inputs if inputs is not None else self.tower.prepare(dataset, dataset.input_role)
        self.columns = {name: _numbers(dataset, name) for name in columns_read(self.tower.module)}
        self.store = None
        if store:
            what = "pooled" if depth is None else f"state{depth}"
            weights = fingerprint(self.tower.module)
            projected = fingerprint(self.tower.project)[:8] if self.tower.project is not None else ""
            pooling = f"{self.tower.pool}{int(self.tower.normalize)}{self.tower.skip_tokens}"
            computed = f"{self.precision}-{self.device.type}"
            self.store = Store(f"{weights}{projected}-{what}-{pooling}-{self.inputs.transform}-{computed}")

    def features(self, rows: np.ndarray | None = None) -> Features:
        """Features of these rows of the dataset (all by default), in the order asked for."""
        every = np.arange(len(self.dataset))
        rows = every if rows is None else np.asarray(rows, dtype=np.int64)
        if not len(rows):
            raise ValueError(f"{self.dataset.name}: no rows to encode")
        if self.store is None:
            with inference(self.tower.module, self.device, self.precision):
                return _collected(*self._stream(rows))
        keys = self._keys(rows, len(rows) == len(every))
        segments = self.store.segments()
        missing = _missing(keys, segments)
        if len(missing):
            with inference(self.tower.module, self.device, self.precision):
                segments.append(self.store.write(keys[missing], *self._stream(rows[missing])))
        for segment in segments:
            if np.array_equal(segment.keys, keys):
                return Features(segment.data, segment.starts)
        return _gathered(keys, segments)

    def _keys(self, rows: np.ndarray, most: bool) -> np.ndarray:
        """(N,) content hashes of all that the model reads of these rows."""
        keys = self.dataset.row_keys()[rows] if most else self.dataset.take(rows).row_keys()
        if not self.columns:
            return keys
        values = np.stack([column[rows].numpy() for column in self.columns.values()], axis=1)
        made = (
            hashlib.blake2b(key + value.tobytes(), digest_size=16).digest()
            for key, value in zip(keys, values, strict=True)
        )
        return np.array(list(made), dtype=keys.dtype)

    def _stream(self, rows: np.ndarray) -> tuple[np.ndarray, tuple[int, ...], Iterator[tuple[int, np.ndarray]]]:
        """Entries of each row, shape of an entry, and the rows' values in the order they are computed."""
        values = self._compute(rows)
        first = next(values)
        counts = np.ones(len(rows), dtype=np.int64)
        if self.depth is not None and first[1].ndim == 2:
            counts = self.inputs.lengths[rows] if self.inputs.padded else counts * len(first[1])
        return counts, first[1].shape[1:], itertools.chain([first], values)

    def _compute(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (position in `rows`, (entries, ...) float32), batch after batch."""
        if self.inputs.padded:
            widths = np.minimum(_padded_widths(self.inputs.lengths[rows]), self.inputs.longest)
        else:
            widths = np.zeros(len(rows), dtype=np.int64)
        for width in np.unique(widths):
            group = np.flatnonzero(widths == width)
            size = max(BATCH_TOKENS // int(width), 1) if self.inputs.padded else BATCH_ROWS
            for start in range(0, len(group), size):
                yield from self._batch(rows, group[start : start + size], int(width), size)

    def _batch(
        self, rows: np.ndarray, positions: np.ndarray, width: int, size: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        filled = np.concatenate([positions, np.repeat(positions[-1:], size - len(positions))])
        inputs = self.inputs.batch(rows[filled])
        inputs = {name: _widen(tensor, width).to(self.device) for name, tensor in inputs.items()}
        pooled = self.depth is None
        columns = {name: column[rows[filled]].to(self.device) for name, column in self.columns.items()}
        with reading(columns):
            values = self.tower.encode(inputs).pooled if pooled else self.tower.state_before(inputs, self.depth)
        values = values.float().cpu().numpy()
        for i, position in enumerate(positions):
            value = values[i]
            if pooled or value.ndim != 2:
                value = value[None]
            elif self.inputs.padded:
                value = value[: self.inputs.lengths[rows[position]]]
            yield int(position), value


def _numbers(dataset: Dataset, name: str) -> Tensor:
    """(N,) a column of one number a row."""
    if name not in dataset.table.column_names:
        raise DataError(f"{dataset.name}: no column {name!r}, which the model reads of every row")
    return torch.from_numpy(np.array(dataset.table[name].to_numpy(zero_copy_only=False)))


def _padded_widths(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up: to a multiple of 8, of 16 above 64 tokens, of 32 above 128."""
    step = np.where(lengths <= _WIDE, _WIDTH_STEP, np.where(lengths <= 2 * _WIDE, 2 * _WIDTH_STEP, 4 * _WIDTH_STEP))
    return -(-np.maximum(lengths, 1) // step) * step


def _widen(tensor: Tensor, width: int) -> Tensor:
    """Pad (B, T) token fields on the right to the batch's fixed width; leave everything else alone."""
    return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1])) if tensor.ndim == 2 else tensor


def _missing(keys: np.ndarray, segments: list[Segment]) -> np.ndarray:
    """Positions of the keys that no segment holds, the first of equal ones only."""
    known = np.concatenate([keys[:0], *(segment.keys for segment in segments)])
    _, first = np.unique(keys, return_index=True)
    first = np.sort(first)
    return first[~np.isin(keys[first], known)]


def _gathered(keys: np.ndarray, segments: list[Segment]) -> Features:
    """The rows with these keys, copied together from wherever they are."""
    found: dict[bytes, tuple[np.ndarray, int, int]] = {}
    wanted = set(keys.tolist())
    for segment in segments:
        data, starts = segment.data, segment.starts
        for i, key in enumerate(segment.keys.tolist()):
            if key in wanted:
                found[key] = data, starts[i], starts[i + 1]
    places = [found[key] for key in keys.tolist()]
    counts = np.array([end - start for _, start, end in places], dtype=np.int64)
    values = ((i, data[start:end]) for i, (data, start, end) in enumerate(places))
    return _collected(counts, places[0][0].shape[1:], values)


def _collected(counts: np.ndarray, entry: tuple[int, ...], values: Iterator[tuple[int, np.ndarray]]) -> Features:
    """Rows that are kept for this process alone: in memory, or where they are many in a file without a name."""
    starts = np.concatenate([[0], np.cumsum(counts)])
    shape = (int(starts[-1]), *entry)
    if 4 * np.prod(shape) > _IN_MEMORY:
        return Features(spill(counts, entry, values), starts)
    out = np.empty(shape, np.float32)
    for i, value in values:
        out[starts[i] : starts[i + 1]] = value
    return Features(out, starts)
