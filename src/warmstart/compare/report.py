"""The report of a comparison: one HTML file without scripts that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.dataset import Dataset
from ..engine.atomic import write_atomic
from . import sections
from .cards import notable
from .embedding_map import embedding_map
from .figures import interval_bar, value_range
from .leaderboard import P_HOLM, columns_of, count, leaderboard, p_value, quantity
from .notable import Votes
from .predictions import Predictions
from .svg import breakable, percent
from .wording import shots_name


def write(directory: str | Path, board: Mapping[str, Any], predictions: pa.Table, **arguments: Any) -> Path:
    """Renders into `directory/report.html`, replacing an older report only once the new one is complete."""
    page = render(board, predictions, **arguments)
    # a lone surrogate, which a file name may hold, has no UTF-8
    return write_atomic(Path(directory) / "report.html", page.encode("utf-8", "replace"))


def render(
    board: Mapping[str, Any],
    predictions: pa.Table,
    *,
    classes: Sequence[str],
    test: Dataset | None = None,
    embeddings: np.ndarray | None = None,
    examples: bool = True,
) -> str:
    """The page of a board, whole or partial.

    board: the content of board.json.
    predictions: the content of predictions.parquet; `label` and `prediction` are indices into `classes`,
        `row` is one into `test`.
    embeddings: (N, D) features of the test rows under the start model, for their map.
    examples: whether any text or image of the data may be shown.
    """
    from jinja2 import Environment, StrictUndefined

    groups = leaderboard(board)
    metric = str(board.get("metric") or "accuracy").replace("_", " ")
    points = {number: [entry.point for entry in entries] for number, entries in groups.items()}
    shots, top = next(iter(groups.items()), (None, []))
    chosen = next((entry for entry in top if entry.point.recommended), None)
    method = chosen.key if chosen else None
    votes = Votes.of(Predictions(predictions).cell(shots)) if top else None
    shown = test if examples else None
    run = dict(board.get("run") or {})
    command = run.pop("command", "")
    title = " on ".join(sections.words(run[key]) for key in ("model", "data") if run.get(key))
    page = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    source = resources.files(__package__).joinpath("report.html").read_text("utf-8")
    return page.from_string(source).render(
        board=board,
        title=title,
        verdict=board.get("verdict") or "No verdict: no trial finished.",
        metric=metric,
        classes=classes,
        groups=groups,
        spans={number: value_range(at) for number, at in points.items()},
        interval_bar=interval_bar,
        shots=shots,
        chosen=chosen,
        floor=next((entry.point for entry in top if entry.point.floor), None),
        columns={number: columns_of(entries) for number, entries in groups.items()},
        meanings=columns_of([entry for entries in groups.values() for entry in entries]),
        p_meaning=P_HOLM,
        failed=[row for row in board.get("rows", []) if row["status"] == "failed"],
        cost=sections.cost(top, metric),
        curve=sections.curve(groups, metric),
        calibration=sections.calibration(votes, top) if votes else [],
        confusion=sections.confusion(votes, method, classes) if votes else None,
        map=embedding_map(votes, method, embeddings, classes, shown) if votes and embeddings is not None else None,
        examples=notable(votes, top, classes, shown) if votes and shown is not None else [],
        hidden=not examples,
        command=command if isinstance(command, str) else " ".join(map(str, command)),
        run=sections.flatten(run),
        settings=sections.settings(board, shots),
        shots_name=shots_name,
        percent=percent,
        count=count,
        quantity=quantity,
        p_value=p_value,
        breakable=breakable,
    )
