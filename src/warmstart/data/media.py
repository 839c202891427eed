"""Files that a column names: images or recordings in a folder or a zip beside the table."""

from __future__ import annotations

import os.path
import posixpath
import re
import zipfile
from collections import Counter
from pathlib import Path

from .dataset import DataError, decode_image, open_image
from .raw import Faults, Place, Raw, first_line

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
MAX_BYTES = 256 * 2**20
PROBED = 200


class FileFolder:
    """A folder that answers names below it; `closed`, not even through a symbolic link to the outside."""

    def __init__(self, path: Path, closed: bool = True):
        self.path, self.name, self.closed = path, str(path), closed
        self._real = path.resolve()

    def __contains__(self, name: str) -> bool:
        return os.path.isfile(self.path / name)

    def read(self, name: str) -> bytes:
        path = self.path / name
        if self.closed and not path.resolve().is_relative_to(self._real):
            raise DataError(f"file {name!r} leaves the folder {self.name}: refused")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, at most {MAX_BYTES:,} allowed")
        return path.read_bytes()


class ZipFolder:
    """The members of a zip, read in memory and never written; `top` is a folder that all of them share."""

    def __init__(self, path: Path):
        self.name = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged archive fails in many ways
            raise DataError(f"{path}: not a readable zip file ({first_line(error)})") from None
        members = {member.filename: member for member in self._zip.infolist() if not member.is_dir()}
        for name in members:
            if leaves(name) or name.startswith(("/", "\\")):
                raise DataError(f"{path}: member {name!r} would be written outside the archive's folder: refused")
        tops = {name.split("/", 1)[0] for name in members if "/" in name}
        top = f"{tops.pop()}/" if len(tops) == 1 else ""
        self._members = members | {
            name.removeprefix(top): member for name, member in members.items() if name.startswith(top)
        }

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        member = self._members[name]
        if member.file_size > MAX_BYTES:
            raise ValueError(f"{member.file_size:,} bytes, at most {MAX_BYTES:,} allowed")
        return self._zip.read(member)


def leaves(name: str) -> bool:
    """Whether a name climbs out of its folder, by `..` or by a drive."""
    parts = posixpath.normpath(name.replace("\\", "/")).split("/", 1)
    return parts[0] == ".." or "\0" in name or re.fullmatch("[A-Za-z]:", parts[0]) is not None


def read_files(raw: Raw, column: str, kind: str, faults: Faults) -> list[bytes | None]:
    """The bytes of every file that the column names; None where a row has a fault that was set aside."""
    names = raw.texts(column)
    for row, name in enumerate(names):
        if name and (leaves(name) or _absolute_elsewhere(name, raw.folder)):
            raise DataError(f"{raw.place(row)}: file {name!r} leaves the folder {raw.folder}: refused")
    folder = _home(raw, column, [name for name in names if name])
    contents = []
    for row, name in enumerate(names):
        contents.append(_read(folder, name, kind, raw.place(row, name or None), faults))
    return contents


def check_bytes(data: bytes | None, kind: str, where: Place, faults: Faults) -> bytes | None:
    """The bytes if they hold what they should, else None with the fault named.

    Headers only, which is cheap; where bad rows are set aside, images are decoded once, so that none is met
    later.
    """
    if not data:
        faults.add(where, f"no {kind}" if data is None else f"empty {kind} file")
        return None
    if kind == "image":
        try:
            if faults.skip:
                decode_image(data)
            else:
                open_image(data).close()
        except DataError as error:
            faults.add(where, str(error))
            return None
    return data


def _read(folder, name: str | None, kind: str, where: Place, faults: Faults) -> bytes | None:
    if not name:
        faults.add(where, f"no {kind} file named")
        return None
    try:
        data = folder.read(posixpath.normpath(name) if not posixpath.isabs(name) else name)
    except (KeyError, FileNotFoundError):
        faults.add(where, f"file {name!r} is not in {folder.name}")
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except Exception as error:  # damaged, encrypted or too large, a directory, no permission
        faults.add(where, f"file {name!r} cannot be read ({first_line(error)})")
    else:
        return check_bytes(data, kind, where, faults)
    return None


def _absolute_elsewhere(name: str, folder: Path | None) -> bool:
    return Path(name).is_absolute() and not (folder and Path(name).resolve().is_relative_to(folder.resolve()))


def _home(raw: Raw, column: str, names: list[str]):
    """What holds the files: the table's folder, a folder beside the table, or a zip beside it."""
    if raw.folder is None:
        raise DataError(f"{raw.file}: column {column!r} names files, but there is no folder to look in")
    if not raw.rows.all():
        return FileFolder(raw.folder, closed=False)
    probed = [posixpath.normpath(name) for name in names[:PROBED]]
    here = FileFolder(raw.folder)
    if not probed or all(name in here for name in probed):
        return here
    below = sorted(path for path in raw.folder.iterdir() if not path.name.startswith("."))
    candidates = [here, *(FileFolder(path) for path in below if path.is_dir())]
    for path in below:
        if path.suffix == ".zip":
            candidates.append(raw.opened.get(path) or raw.opened.setdefault(path, ZipFolder(path)))
    hits = Counter({i: sum(name in one for name in probed) for i, one in enumerate(candidates)})
    best, count = max(hits.items(), key=lambda hit: (hit[1], -hit[0]))
    if count == 0:
        looked = ", ".join(one.name for one in candidates)
        raise DataError(f"{raw.place(0)}: file {names[0]!r} was found nowhere (looked in {looked})")
    return candidates[best]
