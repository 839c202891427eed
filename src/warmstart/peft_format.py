"""peft's side of our tuners: one peft type, `WARMSTART`, whose configuration names the tuner.

After `import warmstart`, `PeftModel.from_pretrained` reads what `engine.saving` writes for tuners of ours, whichever
of the two libraries is imported first; peft itself is imported by nobody but its user.
"""

from __future__ import annotations

from .import_hooks import after_import, before_import


def install() -> None:
    """Register our type as soon as peft is imported, and let it be imported beside a CPU build of torch."""
    before_import("torchvision", _mend_torchvision)
    after_import("peft", register)


def register() -> None:
    """Enter the type into peft's tables."""
    from peft import mapping

    from .peft_type import PEFT_TYPE, WarmstartAdapter, WarmstartConfig

    mapping.PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] = WarmstartConfig
    mapping.PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] = WarmstartAdapter
    mapping.PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] = WarmstartAdapter.prefix


def _mend_torchvision() -> None:
    from .models.libraries import mend_torchvision

    mend_torchvision()
