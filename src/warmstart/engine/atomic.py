"""Files that are either the old one or the new one, whatever happens while they are written, by one process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
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
        advice = "; free some space and run the same again to go on" if error.errno in _FULL else ""
        raise DataError(
            f"{path}: cannot be written: {error.strerror or error}{advice}; what was saved before is intact"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


@contextlib.contextmanager
def exclusive(folder: str | Path) -> Iterator[None]:
    """Inside, this folder is ours alone among the processes that ask for it so; it is created where missing.

    The hold ends with the process, however that ends. Where the file system knows no locks, nothing is held.
    Raises DataError, one line, where another process holds the folder, or it cannot be created.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another process is at work there; wait, or name another folder") from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


_FULL = (errno.ENOSPC, errno.EDQUOT)
