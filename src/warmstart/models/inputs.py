"""From rows of a dataset to what a tower's encoder reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset

_KEEP_DECODED_BYTES = 1 << 30
_TOKENIZE_ROWS = 1024


class TextInputs:
    """Token ids of every row, cut to the encoder's length.

    truncated: how many rows were cut. lengths: (N,) tokens a row.
    """

    def __init__(self, tokenizer, texts: Sequence[str], max_length: int):
        self.ids: list[np.ndarray] = []
        self.truncated = 0
        for start in range(0, len(texts), _TOKENIZE_ROWS):
            chunk = list(texts[start : start + _TOKENIZE_ROWS])
            encoded = tokenizer(chunk, truncation=True, max_length=max_length)
            self.ids += [np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"]]
            self.truncated += sum(bool(row.overflowing) for row in encoded.encodings or ())
        self.lengths = np.array([len(ids) for ids in self.ids], dtype=np.int64)
        self.padding = tokenizer.pad_token_id or 0

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """input_ids, attention_mask: (B, T) int64, padded on the right to the longest of these rows."""
        width = max(int(self.lengths[rows].max()), 1)
        ids = np.full((len(rows), width), self.padding, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : self.lengths[row]] = self.ids[row]
            mask[i, : self.lengths[row]] = 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


class ImageInputs:
    """Pixels of every row: shorter side resized to `size`, centre cropped, normalised by mean and std.

    Resized pixels are kept in memory as uint8 while all rows fit into one GiB.
    """

    def __init__(self, dataset: Dataset, size: int, mean: Sequence[float], std: Sequence[float], role: str = "image"):
        self.dataset, self.size, self.role = dataset, size, role
        self.mean = torch.tensor(mean).view(1, 3, 1, 1)
        self.std = torch.tensor(std).view(1, 3, 1, 1)
        self.lengths = np.ones(len(dataset), dtype=np.int64)
        self.truncated = 0
        keep = len(dataset) * 3 * size * size <= _KEEP_DECODED_BYTES
        self._pixels = np.empty((len(dataset), size, size, 3), np.uint8) if keep else None
        self._decoded = np.zeros(len(dataset), bool)

    def __len__(self) -> int:
        return len(self.dataset)

    def pixels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(B, size, size, 3) uint8."""
        if self._pixels is None:
            return np.stack([self._resized(int(row)) for row in rows])
        for row in rows:
            if not self._decoded[row]:
                self._pixels[row] = self._resized(int(row))
                self._decoded[row] = True
        return self._pixels[rows]

    def _resized(self, row: int) -> np.ndarray:
        from PIL import Image

        pixels = self.dataset.image(row, self.role)
        height, width = pixels.shape[:2]
        if height == width == self.size:
            return pixels
        scale = self.size / min(height, width)
        shape = max(round(width * scale), self.size), max(round(height * scale), self.size)
        resized = np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC))
        top, left = (resized.shape[0] - self.size) // 2, (resized.shape[1] - self.size) // 2
        return resized[top : top + self.size, left : left + self.size]

    def batch(self, rows: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """pixel_values: (B, 3, size, size) float32."""
        pixels = torch.from_numpy(self.pixels(np.asarray(rows))).permute(0, 3, 1, 2).float().div_(255)
        return {"pixel_values": pixels.sub_(self.mean).div_(self.std)}
