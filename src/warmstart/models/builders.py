"""Models with random weights, from a builder's name and its arguments."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import torch

from .model import Model, ModelError


def builder_names() -> list[str]:
    """Files of this folder that hold a function of their own name: `vit`, ..."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if re.search(rf"^def {file.stem}\(", file.read_text(), re.MULTILINE)]


def find_builder(name: str) -> Callable[..., Model]:
    known = builder_names()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        near = f"; did you mean {close[0]!r}?" if close else ""
        raise ModelError(f"no builder {name!r}{near}; builders: {', '.join(known) or 'none'}")
    return getattr(importlib.import_module(f"warmstart.models.{name}"), name)


def check_builder(spec: dict) -> None:
    """Raises ModelError, one line, where `{builder: arguments}` cannot be built."""
    if len(spec) != 1 or not isinstance(next(iter(spec.values())), dict | None):
        raise ModelError(f"a model is a name, or {{builder: {{argument: value}}}}, not {spec!r}")
    name, arguments = next(iter(spec.items()))
    known = inspect.signature(find_builder(name)).parameters
    for key in arguments or {}:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            near = f"; did you mean {close[0]!r}?" if close else ""
            raise ModelError(f"builder {name} has no argument {key!r}{near}; it has: {', '.join(known)}")


def build_model(spec: dict, *, seed: int = 0) -> Model:
    """The model of `{builder: {argument: value}}`, its weights drawn under `seed`."""
    check_builder(spec)
    name, arguments = next(iter(spec.items()))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return find_builder(name)(**arguments or {})
