"""Doing something when another library is imported, whoever imports it and whenever."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable


def after_import(library: str, action: Callable[[], None]) -> None:
    """Call `action` once the library has been imported; now, where it has been already."""
    if library in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Hook(library, after=action))


def before_import(library: str, action: Callable[[], None]) -> None:
    """Call `action` just before the library's own code runs; never, where it has run already."""
    if library not in sys.modules:
        sys.meta_path.insert(0, _Hook(library, before=action))


class _Hook(importlib.abc.MetaPathFinder):
    """Finds the library as the other finders do, with a loader that calls the actions."""

    def __init__(self, library: str, before: Callable[[], None] | None = None, after=None):
        self.library, self.before, self.after = library, before, after

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.library:
            return None
        specs = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module) -> None:
            if self.before is not None:
                self.before()
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            if self.after is not None:
                self.after()

        # A spec is often asked for only to learn whether the library is installed: the hook waits for execution.
        spec.loader.exec_module = exec_module
        return spec
