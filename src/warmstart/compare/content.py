"""What a comparison was made of, as hashes: a resumed one must find the same rows and the same weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..data.dataset import MODALITIES, DataError, Dataset, Splits

Content = dict[str, list]
_PARTS = ("train", "test", "shifted", "unlabeled")


def content_of(splits: Splits) -> Content:
    """[rows, hash] of every part that is used, and of the class names."""
    found = {"classes": [len(splits.classes), _digest(map(repr, splits.classes))]}
    for name in _PARTS:
        rows = getattr(splits, name)
        if rows is not None:
            found[name] = [len(rows), _digest(_values(rows))]
    return found


def check_same(where, known: Content, found: Content, names: Sequence[str] = ("classes", *_PARTS)) -> None:
    """Raises DataError that says which of these parts is not as it was."""
    changed = [_change(name, known.get(name), found.get(name)) for name in names if known.get(name) != found.get(name)]
    if changed:
        raise DataError(f"{where}: made from other data than there is now ({'; '.join(changed)}); name another --out")


def _change(name: str, then: Sequence | None, now: Sequence | None) -> str:
    if then is None or now is None:
        return f"{name} {'is new' if then is None else 'is gone'}"
    counts = f"{then[0]:,} then, {now[0]:,} now" if then[0] != now[0] else "other contents"
    return f"{name}: {counts}"


def _values(rows: Dataset):
    for role, kind in rows.roles.items():
        if kind in MODALITIES:
            yield role
            yield from rows.row_keys(role).tolist()
    if "label" in rows.roles:
        yield rows.labels.tobytes()


def _digest(values) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        digest.update(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)
        digest.update(b"\n")
    return digest.hexdigest()
