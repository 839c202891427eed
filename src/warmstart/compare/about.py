"""What was run: the record that stands in the board and the report."""

from __future__ import annotations

import platform
import time

from ..run_record import versions


def about(session) -> dict:
    splits, request = session.splits, session.request
    rows = {"train": len(splits.train), "drawn": len(session.stages[0].pool), "test": len(splits.test)}
    for name in ("val", "unlabeled", "shifted"):
        part = getattr(splits, name)
        if part is not None:
            rows[name] = len(part)
    return {
        "command": session.command,
        "model": ", ".join(stage.name for stage in session.stages),
        "data": request.source,
        "rows": rows,
        "classes": len(splits.classes),
        "budget_seconds": request.budget,
        "seconds": round(time.time() - session.started, 1),
        "encode_seconds": {
            stage.name: {name: round(seconds, 2) for name, seconds in stage.encode_seconds.items()}
            for stage in session.stages
        },
        "threads": session.plan.threads,
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
    }
