"""Rows seen through a model: what predictors, heads and probes work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


def are_numbers(names: Sequence[str]) -> bool:
    """Whether all these class names are numbers, which say nothing about their classes."""
    return all(_is_number(name) for name in names)


@dataclass(frozen=True)
class Examples:
    """Rows (or classes) after encoding; every field is None where it is not known.

    features: (N, D) float32, as the tower pools them (not normalised).
    labels: (N,) int64.
    weights: (N,) float32 row weights.
    names: N strings; for a table of classes, their names.
    """

    features: Tensor | None = None
    labels: Tensor | None = None
    weights: Tensor | None = None
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                return len(value)
        return 0

    def take(self, rows: Tensor) -> Examples:
        """The rows at these indices (or under this boolean mask), in that order."""
        if rows.dtype == torch.bool:
            rows = rows.nonzero(as_tuple=True)[0]
        names = None if self.names is None else tuple(self.names[i] for i in rows.tolist())
        picked = {
            item.name: None if getattr(self, item.name) is None else getattr(self, item.name)[rows]
            for item in fields(self)
            if item.name != "names"
        }
        return replace(self, names=names, **picked)


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
