"""Images turned, mirrored, moved or inverted exactly, each a domain of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ..data.dataset import DataError, Dataset
from ..engine.cast import Cast
from . import Curator


class Rearrange(Curator):
    """Copies of the rows with their images rearranged, one kind after the other; the role `domain` names the kind.

    upright: as it is;  rotated: a quarter turn to the left;  inverted: 255 - x;  flipped: left and right exchanged;
    shifted: to the right and down by a quarter of the side, what leaves at one border enters at the other

    kinds: which, in this order. role: of the images, which must all be squares of one size.
    Raises ValueError for an unknown kind, DataError where images differ in size.
    Source: the usual tasks made of one set of digits, as rotated and permuted MNIST in Goodfellow et al. 2013
    (arXiv 1312.6211).
    """

    def __init__(
        self,
        kinds: tuple[str, ...] = ("upright", "rotated", "inverted", "flipped", "shifted"),
        role: str = "image",
    ):
        unknown = [kind for kind in kinds if kind not in _KINDS]
        if unknown:
            raise ValueError(f"no arrangement {unknown[0]!r}; there are: {', '.join(_KINDS)}")
        self.kinds, self.role = tuple(kinds), role

    def curate(self, data: Dataset, cast: Cast, seed: int) -> Dataset:
        found = [data.image(row, self.role) for row in range(len(data))]
        sizes = {image.shape[:2] for image in found}
        if len(sizes) > 1 or any(height != width for height, width in sizes):
            raise DataError(f"{data.name}: rearrange needs square images of one size, and there are {sorted(sizes)}")
        images = np.stack(found)
        made = np.concatenate([_KINDS[kind](images) for kind in self.kinds])
        table = data.take(np.tile(np.arange(len(data)), len(self.kinds))).table
        place = table.column_names.index(self.role)
        table = table.set_column(place, self.role, pa.FixedShapeTensorArray.from_numpy_ndarray(made))
        if "domain" in table.column_names:
            table = table.drop_columns(["domain"])
        names = pa.array(np.repeat(self.kinds, len(data)))
        return replace(data, table=table.append_column("domain", names), roles={**data.roles, "domain": "domain"})


def _shifted(images: np.ndarray) -> np.ndarray:
    side = images.shape[1] // 4
    return np.roll(images, (side, side), axis=(1, 2))


_KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "upright": lambda images: images,
    "rotated": lambda images: np.ascontiguousarray(np.rot90(images, axes=(1, 2))),
    "inverted": lambda images: 255 - images,
    "flipped": lambda images: np.ascontiguousarray(images[:, :, ::-1]),
    "shifted": _shifted,
}
