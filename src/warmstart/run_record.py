"""`run.json`: what a run was, how far it is, and what it found."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .engine.atomic import write_atomic
from .models import fingerprint
from .recipe import Recipe, RecipeError

RECORD, STEPS = "run.json", "steps"
_LIBRARIES = ("warmstart", "torch", "transformers", "peft", "accelerate", "scikit-learn", "numpy")


def open_record(recipe: Recipe, source, data, seed: int, folder: Path | None, main: bool) -> dict:
    """The run's record so far. Raises RecipeError where the folder holds the steps of another run."""
    identity = {
        "name": recipe.name,
        "recipe": {key: recipe.document[key] for key in ("card", "steps") if key in recipe.document},
        "model": source if isinstance(source, str | dict) else f"{type(source).__name__} {fingerprint(source)}",
        "data": data if isinstance(data, str | dict) else str(data) if isinstance(data, Path) else type(data).__name__,
        "seed": seed,
    }
    identity = json.loads(json.dumps(identity, default=str))
    record = {**identity, "finished": False, "steps": {}}
    if folder is None:
        return record
    if (folder / RECORD).exists() and (folder / STEPS).exists():
        known = json.loads((folder / RECORD).read_text())
        changed = [key for key, value in identity.items() if known.get(key) != value]
        if changed:
            raise RecipeError(f"{folder}: holds a run with another {' and '.join(changed)}; name another folder")
        record["steps"] = known.get("steps", {})
    elif main:
        write_record(folder, record)
    return record


def write_record(folder: Path, record: dict) -> None:
    write_atomic(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False, default=str).encode())


def versions() -> dict[str, str]:
    """Of Python and of the libraries that numbers depend on, those that are installed."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
