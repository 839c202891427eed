"""Where what can be computed again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$WARMSTART_CACHE, else ~/.cache/warmstart."""
    return Path(os.environ.get("WARMSTART_CACHE") or Path.home() / ".cache" / "warmstart")
