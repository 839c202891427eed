"""Rows with roles: the table that every part of warmstart reads."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

MODALITIES = ("text", "image", "audio", "series")


class DataError(ValueError):
    """The user's data cannot be used as it is: one line that names file, row and fault."""


@dataclass(frozen=True)
class Dataset:
    """An Arrow table whose columns are named by their role.

    table: columns `text` (string), `image` (binary of an encoded file, or a fixed-shape uint8 tensor
        (H, W) or (H, W, C)), `audio`, `series`, `label` (int64 class ids), and where asked `group`, `time`,
        `domain`, `weight`. A missing label is null.
    roles: role name -> type; several roles may share a type (`text`, `text_2`).
    classes: class names; the label column holds indices into them. Empty without labels.
    name: where the rows came from, for messages and reports.
    """

    table: pa.Table
    roles: Mapping[str, str]
    classes: tuple[str, ...] = ()
    name: str = "data"

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def modality(self) -> str:
        """The type of what a model encodes: the first role whose type is a modality."""
        for kind in self.roles.values():
            if kind in MODALITIES:
                return kind
        raise DataError(f"{self.name}: no text, image, audio or series column among {list(self.roles)}")

    @property
    def input_role(self) -> str:
        return next(role for role, kind in self.roles.items() if kind == self.modality)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64 class ids."""
        if "label" not in self.roles:
            raise DataError(f"{self.name}: no label column")
        return self.table["label"].to_numpy(zero_copy_only=False).astype(np.int64)

    def take(self, rows: Sequence[int] | np.ndarray) -> Dataset:
        return replace(self, table=self.table.take(pa.array(np.asarray(rows, dtype=np.int64))))

    def without(self, role: str) -> Dataset:
        roles = {name: kind for name, kind in self.roles.items() if name != role}
        return replace(self, table=self.table.select(list(roles)), roles=roles, classes=())

    def texts(self, role: str = "text") -> list[str]:
        return self.table[role].to_pylist()

    def image(self, row: int, role: str = "image") -> np.ndarray:
        """One image as (H, W, 3) uint8."""
        column = self.table[role]
        if isinstance(column.type, pa.FixedShapeTensorType):
            pixels = np.asarray(column[row].to_numpy())
        else:
            pixels = decode_image(column[row].as_py())
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]

    def row_keys(self, role: str | None = None) -> np.ndarray:
        """(N,) 16-byte content hashes of what the model sees, for caching and for finding duplicates."""
        column = self.table[role or self.input_role]
        if isinstance(column.type, pa.FixedShapeTensorType):
            values = (np.ascontiguousarray(value.to_numpy()).tobytes() for value in column)
        else:
            values = (v if isinstance(v, bytes) else str(v).encode() for v in column.to_pylist())
        return np.array([hashlib.blake2b(v, digest_size=16).digest() for v in values], dtype="S16")


def decode_image(data: bytes) -> np.ndarray:
    """Bytes of an image file -> (H, W, 3) uint8."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@dataclass
class Splits:
    """What `data(...)` returns: the rows to learn from, to choose on and to be judged by.

    unlabeled: rows without labels, for methods that can use them.
    shifted: labelled rows from another distribution; `shifted_unseen` marks rows whose label the training
        split does not have (scored as out-of-distribution).
    warnings: lines for the user (duplicates, conflicts, truncation, dropped splits).
    skipped: rows set aside by `skip_bad`: (file, row, reason).
    """

    train: Dataset
    test: Dataset
    val: Dataset | None = None
    unlabeled: Dataset | None = None
    shifted: Dataset | None = None
    shifted_unseen: np.ndarray | None = None
    warnings: list[str] = field(default_factory=list)
    skipped: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes
