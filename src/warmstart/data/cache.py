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

    Raises ValueError where the variable holds no number.
    """
    return float(os.environ.get("WARMSTART_CACHE_GB") or _LARGEST) * 1e9
