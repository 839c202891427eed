"""Probes judge: measurements, diagnostics, protocols, over one run or a table of runs.

A probe is a class in a file of this folder, named after the file in CamelCase.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..data.dataset import Splits
from ..engine.cast import Cast
from ..engine.ingredient import Ingredient


class Probe(Ingredient):
    """A measurement that changes nothing."""

    def measure(self, cast: Cast, data: Splits) -> dict:
        """A flat report: name -> number (or list of numbers)."""
        raise NotImplementedError

    def across(self, runs: Sequence[dict]) -> dict:
        """The same over a table of runs, for probes that compare them."""
        raise NotImplementedError(f"{type(self).__name__} judges one run at a time")
