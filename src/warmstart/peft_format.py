"""peft's side of our tuners: one peft type, `WARMSTART`, whose configuration names the tuner.

After `import warmstart`, `PeftModel.from_pretrained` reads what `engine.saving` writes for tuners of ours, whichever
of the two libraries is imported first; peft itself is imported by nobody but its user.
"""

from __future__ import annotations

import importlib.abc
import sys

PEFT_TYPE = "WARMSTART"


def install() -> None:
    """Register our type now, where peft is imported already, or else as soon as it is."""
    if "peft" in sys.modules:
        register()
    elif not any(isinstance(finder, _AfterPeft) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterPeft())


def register() -> None:
    """Enter the type into peft's tables."""
    from peft import mapping

    from .peft_type import WarmstartAdapter, WarmstartConfig

    mapping.PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] = WarmstartConfig
    mapping.PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] = WarmstartAdapter
    mapping.PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] = WarmstartAdapter.prefix


class _AfterPeft(importlib.abc.MetaPathFinder):
    """Finds peft as the other finders do, and registers our type once it has been executed."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "peft":
            return None
        specs = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            register()

        # Libraries ask for peft's spec only to learn whether it is installed: each spec carries its own hook.
        spec.loader.exec_module = exec_module
        return spec
