"""Rows seen through a frozen tower, computed once: pooled features, or the states before a block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..models import Model, Tower, fingerprint
from .precision import autocast, best_precision
from .store import Store

BATCH_ROWS = 32
_WIDTH_STEP = 8


@dataclass(frozen=True)
class Features:
    """What a tower computed for N rows: row i owns entries starts[i]:starts[i+1] of `data`."""

    data: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def pooled(self, rows: np.ndarray | None = None) -> Tensor:
        """(N, D) float32 of features that have one entry a row."""
        return torch.from_numpy(np.array(self.data if rows is None else self.data[rows]))

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

    A row's value does not depend on the rows beside it: rows are grouped by padded width, every batch has the
    same number of rows (the last is filled up), and matrix kernels compute a row the same way wherever it
    stands in a batch of one shape. So features repeat bit for bit, whichever rows are asked for.

    depth: None for pooled features; else the states that block `depth` reads.
    """

    def __init__(self, model: Model, dataset: Dataset, *, depth: int | None = None, inputs=None, store=True):
        self.tower: Tower = model.tower(dataset.modality)
        self.dataset, self.depth, self.device = dataset, depth, model.device
        self.inputs = inputs if inputs is not None else self.tower.prepare(dataset, dataset.input_role)
        self.store = None
        if store:
            what = "pooled" if depth is None else f"state{depth}"
            weights = fingerprint(self.tower.module)
            projected = fingerprint(self.tower.project)[:8] if self.tower.project is not None else ""
            transform = f"{self.tower.pool}{int(self.tower.normalize)}{getattr(self.inputs, 'size', '')}"
            self.store = Store(f"{weights}{projected}-{what}-{transform}-{best_precision()}")

    def features(self, rows: np.ndarray | None = None) -> Features:
        """Features of these rows of the dataset (all by default), in the order asked for."""
        rows = np.arange(len(self.dataset)) if rows is None else np.asarray(rows)
        keys = (self.dataset if len(rows) == len(self.dataset) else self.dataset.take(rows)).row_keys()
        if len(rows) == len(self.dataset):
            keys = keys[rows]
        if self.store is None:
            return self._gather(rows, keys, [])
        segments = self.store.segments()
        for segment in segments:
            if len(segment.keys) == len(keys) and (segment.keys == keys).all():
                return Features(segment.data, segment.starts)
        known = {key for segment in segments for key in segment.keys.tolist()}
        missing = [i for i, key in enumerate(keys.tolist()) if key not in known]
        _, first = np.unique(keys[missing], return_index=True)
        missing = np.asarray(missing, dtype=np.int64)[np.sort(first)]
        if len(missing):
            segments.append(self._write(rows[missing], keys[missing]))
        if len(segments[-1].keys) == len(keys) and (segments[-1].keys == keys).all():
            return Features(segments[-1].data, segments[-1].starts)
        return self._gather(rows, keys, segments)

    def _write(self, rows: np.ndarray, keys: np.ndarray):
        values = self._compute(rows)
        first_row, first = next(values)
        counts = self._counts(rows, first)

        def all_values() -> Iterator[tuple[int, np.ndarray]]:
            yield first_row, first
            yield from values

        return self.store.write(keys, counts, first.shape[1:], all_values())

    def _gather(self, rows: np.ndarray, keys: np.ndarray, segments: list) -> Features:
        if not segments:
            found = dict(self._compute(rows))
            values = [found[i] for i in range(len(rows))]
        else:
            where = {}
            opened = [(segment.data, segment.starts, segment.keys.tolist()) for segment in segments]
            for data, starts, segment_keys in opened:
                for i, key in enumerate(segment_keys):
                    where[key] = (data, starts[i], starts[i + 1])
            values = [data[a:b] for data, a, b in (where[key] for key in keys.tolist())]
        counts = np.array([len(value) for value in values], dtype=np.int64)
        return Features(np.concatenate(values), np.concatenate([[0], np.cumsum(counts)]))

    def _counts(self, rows: np.ndarray, example: np.ndarray) -> np.ndarray:
        if self.depth is not None and example.ndim == 2:
            fixed = len(np.unique(self.inputs.lengths)) == 1
            return np.full(len(rows), len(example)) if fixed else self.inputs.lengths[rows]
        return np.ones(len(rows), dtype=np.int64)

    @torch.inference_mode()
    def _compute(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (position in `rows`, (entries, ...) float32), batch after batch."""
        lengths = np.maximum(self.inputs.lengths[rows], 1)
        widths = -(-lengths // _WIDTH_STEP) * _WIDTH_STEP
        training = self.tower.module.training
        self.tower.module.eval()
        try:
            with autocast(self.device):
                for width in np.unique(widths):
                    group = np.flatnonzero(widths == width)
                    for start in range(0, len(group), BATCH_ROWS):
                        positions = group[start : start + BATCH_ROWS]
                        yield from self._batch(rows, positions, int(width))
        finally:
            self.tower.module.train(training)

    def _batch(self, rows: np.ndarray, positions: np.ndarray, width: int) -> Iterator[tuple[int, np.ndarray]]:
        filled = np.concatenate([positions, np.repeat(positions[-1:], BATCH_ROWS - len(positions))])
        inputs = self.inputs.batch(rows[filled])
        inputs = {name: _widen(tensor, width).to(self.device) for name, tensor in inputs.items()}
        if self.depth is None:
            values = self.tower.encode(inputs).pooled
        else:
            values = self.tower.state_before(inputs, self.depth)
        values = values.float().cpu().numpy()
        for i, position in enumerate(positions):
            value = values[i]
            if self.depth is None or value.ndim != 2:
                value = value[None]
            elif "attention_mask" in inputs:
                value = value[: self.inputs.lengths[rows[position]]]
            yield int(position), value


def _widen(tensor: Tensor, width: int) -> Tensor:
    """Pad (B, T) token fields on the right to the batch's fixed width; leave everything else alone."""
    return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1])) if tensor.ndim == 2 else tensor
