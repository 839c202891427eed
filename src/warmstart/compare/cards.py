"""The test rows that the report shows, as text or as thumbnails."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from .leaderboard import Entry
from .notable import Notable, Votes, notable_rows
from .svg import shorten

EXAMPLES = 8
THUMBNAIL = 112  # pixels a side
TEXT = 320  # characters of an example shown


NOTABLE = {
    "mislabelled": (
        "Likely mislabelled",
        "At least 80 % of the votes are for one other class, and at least half of all votes are as confident "
        "as that voter usually is when right about it. Worth a second look at the label.",
    ),
    "hardest": ("Hardest", "Every method is wrong with every seed; the most confident mistakes first."),
    "disputed": ("Most disputed", "The methods and seeds disagree most about these."),
}


def example_texts(test: Dataset, rows: Sequence[int] | np.ndarray) -> list[str]:
    """What can be said of a row in words: all its texts, or which row it is."""
    roles = [role for role, kind in test.roles.items() if kind == "text"]
    chosen = test.take(rows)
    if not roles:
        return [f"row {row}" for row in rows]
    columns = [chosen.texts(role) for role in roles]
    return [shorten(" | ".join(str(part) for part in parts), TEXT) for parts in zip(*columns, strict=True)]


def notable(votes: Votes, group: Sequence[Entry], classes: Sequence[str], test: Dataset) -> list[dict[str, Any]]:
    voters = votes.only([entry.key for entry in group if not entry.point.floor])
    found = notable_rows(voters, EXAMPLES)
    return [
        {
            "name": name,
            "heading": heading,
            "note": note,
            "items": [card(item, classes, test) for item in found[name]],
        }
        for name, (heading, note) in NOTABLE.items()
    ]


def card(item: Notable, classes: Sequence[str], test: Dataset) -> dict[str, Any]:
    return {
        "row": item.row,
        "label": classes[item.label] if item.label >= 0 else "none",
        "text": example_texts(test, [item.row])[0],
        "image": thumbnail(test, item.row) if test.modality == "image" else None,
        "votes": [(classes[c], share, confidence) for c, share, confidence in item.votes[:3]],
        "others": max(0, len(item.votes) - 3),
    }


def thumbnail(test: Dataset, row: int) -> str:
    from PIL import Image

    picture = Image.fromarray(test.image(row, test.input_role).astype(np.uint8))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
