"""Which column plays which role: by the user's word, or by its usual name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .dataset import DataError
from .media import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from .raw import Raw, as_list

TEXT = (
    "text", "sentence", "utterance", "query", "question", "content", "document", "review", "comment", "tweet",
    "message", "article", "body", "abstract", "description", "title",
)  # fmt: skip
IMAGE = ("image", "img", "images", "picture", "photo", "pixels")
AUDIO = ("audio", "recording", "sound", "speech")
FILE = (
    "file",
    "file_name",
    "filename",
    "image_file",
    "image_path",
    "file_path",
    "filepath",
    "path",
    "audio_file",
)
ARRAY = ("x", "data", "inputs", "features", "series")
LABEL = (
    "label", "labels", "class", "target", "targets", "category", "intent", "sentiment", "topic", "y",
    "class_id", "label_id", "coarse_label", "label_text", "class_name", "label_name",
)  # fmt: skip
LABEL_NAME = ("class_name", "label_name", "label_text", "category_name")
SPLIT = ("split", "subset", "partition")


@dataclass(frozen=True)
class Ask:
    """The columns that the user named; None where they are to be recognised."""

    text: str | Iterable[str] | None = None
    image: str | None = None
    label: str | None = None
    group: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Columns:
    """inputs: role -> (column, type); then the columns of the other roles, None where there is none."""

    inputs: dict[str, tuple[str, str]]
    label: str | None
    label_name: str | None
    label_named_by_user: bool
    group: str | None
    time: str | None
    domain: str | None


def choose_columns(raw: Raw, ask: Ask, labelled: bool = True) -> Columns:
    label = _given(raw, ask.label) if labelled else None
    if labelled and label is None:
        label = _usual(raw, LABEL)
        if label is None:
            raise DataError(f"{raw.file}: no label column recognised among {_names(raw)}; name it (label=, --label)")
    inputs = _inputs(raw, ask)
    name = _usual(raw, LABEL_NAME)
    return Columns(
        inputs=inputs,
        label=label,
        label_name=name if name != label else None,
        label_named_by_user=ask.label is not None,
        group=_given(raw, ask.group),
        time=_given(raw, ask.time),
        domain=_usual(raw, ("domain",)),
    )


def split_column(raw: Raw) -> str | None:
    return _usual(raw, SPLIT)


def kind_of(raw: Raw, column: str) -> str | None:
    """What a column's values are: text, image, audio, series, or None."""
    values = raw.column(column)
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "U":
            return "text" if values.ndim == 1 else None
        if values.ndim >= 3 and values.dtype.kind in "uib":
            return "image"
        return "series" if values.ndim >= 2 and values.dtype.kind in "fiu" else None
    first = next((value for value in as_list(values[:50]) if value is not None), None)
    if isinstance(first, dict):
        return "audio" if column.lower() in AUDIO or "sampling_rate" in first else "image"
    if isinstance(first, bytes):
        return "audio" if column.lower() in AUDIO else "image"
    if isinstance(first, str):
        suffix = first[first.rfind(".") :].lower()
        return "audio" if suffix in AUDIO_SUFFIXES else "image" if suffix in IMAGE_SUFFIXES else "text"
    return None


def _inputs(raw: Raw, ask: Ask) -> dict[str, tuple[str, str]]:
    inputs: dict[str, tuple[str, str]] = {}
    if ask.image is not None:
        column = _given(raw, ask.image)
        kind = "audio" if kind_of(raw, column) == "audio" else "image"
        inputs[kind] = (column, kind)
    for number, column in enumerate(_several(raw, ask.text), start=1):
        role = "text" if number == 1 else f"text_{number}"
        inputs[role] = (_given(raw, column), "text")
    if inputs:
        return inputs
    for names, kinds in (
        (IMAGE, ("image",)),
        (AUDIO, ("audio",)),
        (TEXT, ("text",)),
        (FILE, ("image", "audio")),
        (ARRAY, ("image", "series", "text")),
    ):
        for column in _all_usual(raw, names):
            # A sentence that happens to end in a file's suffix is a text still.
            kind = "text" if names is TEXT and _holds_text(raw, column) else kind_of(raw, column)
            if kind in kinds:
                return {kind: (column, kind)}
    raise DataError(
        f"{raw.file}: no text or image column recognised among {_names(raw)}; name it (text=, image=, --text, --image)"
    )


def _holds_text(raw: Raw, column: str) -> bool:
    return any(isinstance(value, str) for value in as_list(raw.columns[column][:50]))


def _several(raw: Raw, text: str | Iterable[str] | None) -> list[str]:
    if text is None:
        return []
    if isinstance(text, str):
        return [text] if text in raw.columns else text.split(",")
    return list(text)


def _given(raw: Raw, column: str | None) -> str | None:
    if column is not None:
        raw.column(column)
    return column


def _usual(raw: Raw, names: tuple[str, ...]) -> str | None:
    return next(iter(_all_usual(raw, names)), None)


def _all_usual(raw: Raw, names: tuple[str, ...]) -> list[str]:
    lower = {column.lower(): column for column in reversed(list(raw.columns))}
    return [lower[name] for name in names if name in lower]


def _names(raw: Raw) -> str:
    return ", ".join(repr(name) for name in raw.columns) or "no columns"
