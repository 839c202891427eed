"""Modules that are verbs: `warmstart.compare(...)` works although `warmstart.compare` is also a package."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable


def verb(module: str, function: Callable) -> None:
    """Calling the module calls this function."""

    class Verb(types.ModuleType):
        __call__ = staticmethod(function)
        __doc__ = function.__doc__

    sys.modules[module].__class__ = Verb
