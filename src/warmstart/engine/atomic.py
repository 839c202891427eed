"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

from ..data.dataset import DataError


def write_atomic(path: str | Path, data: bytes | memoryview) -> Path:
    """Writes beside the target, flushes to the disk, then renames over it; creates the folder where missing.

    Raises DataError, one line, where the file system refuses (disk full, no permission); the old file stays.
    """
    path = Path(path)
    # the leading dot and the last suffix keep half a file out of `*.parquet` and `*.json` listings
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        advice = "; free some space and run again with --resume" if error.errno in _FULL else ""
        raise DataError(
            f"{path}: cannot be written: {error.strerror or error}{advice}; what was saved before is intact"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


_FULL = (errno.ENOSPC, errno.EDQUOT)
