"""The `winner/` folder: the recommended method's model, ready to use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..engine.atomic import write_atomic
from .board import Board

FOLDER = "winner"


def save_winner(session, board: Board) -> Path | None:
    """Fill winner/ with the recommended method, or the best that is a model where a floor is recommended.

    None, and no such folder, where no trial has left a model yet.
    """
    home = session.folder / FOLDER
    trial = _winning_trial(session, board)
    if trial is None:
        shutil.rmtree(home, ignore_errors=True)
        return None
    fresh = session.folder / f".{FOLDER}.tmp"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(session.model_path(trial), fresh)
    if trial.kind == "predictor":
        _add_backbone(session.stage(trial).model, fresh)
    _name_base(fresh, home)
    write_atomic(fresh / "trial.json", json.dumps(vars(trial), indent=1).encode())
    shutil.rmtree(home, ignore_errors=True)
    return fresh.rename(home)


def _winning_trial(session, board: Board):
    arms = [] if board.recommended is None else [(board.recommended.method, board.recommended.model)]
    top = [s for s in board.summary if s.shots == session.request.shots[-1]]
    arms += [(s.method, s.model) for s in sorted(top, key=lambda s: -(s.mean or 0.0))]
    for arm in arms:
        for trial in session.plan.trials:
            ours = (trial.method, trial.model) == arm and trial.shots == session.request.shots[-1]
            if ours and session.finished(trial) and session.model_path(trial).exists():
                return trial
    return None


def _add_backbone(model, folder: Path) -> None:
    from ..engine.saving import save_model

    save_model(model, folder)


def _name_base(fresh: Path, home: Path) -> None:
    """An adapter's configuration says where its base model is: in the folder that this one becomes."""
    path = fresh / "adapter_config.json"
    if path.exists():
        found = json.loads(path.read_text()) | {"base_model_name_or_path": str((home / "backbone").resolve())}
        path.write_text(json.dumps(found, indent=1))
