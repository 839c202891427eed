"""Where what can be computed again is kept."""

from __future__ import annotations

import os
from pathlib import Path

_LARGEST = 20.0


def cache_folder() -> Path:
    """$WARMSTART_CACHE, else ~/.cache/warmstart."""
    return Path(os.environ.get("WARMSTART_CACHE") or Path.home() / ".cache" / "warmstart")


def cache_limit() -> float:
    """Bytes that stored features may take: $WARMSTART_CACHE_GB, else 20 GB.

    Raises DataError where the variable holds no number.
    """
    from .dataset import DataError

    given = os.environ.get("WARMSTART_CACHE_GB") or _LARGEST
    try:
        return float(given) * 1e9
    except ValueError:
        raise DataError(f"WARMSTART_CACHE_GB is {given!r}: write a number of gigabytes, as in 20") from None
