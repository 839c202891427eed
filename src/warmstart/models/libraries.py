"""Importing the libraries that architectures come from."""

from __future__ import annotations

import functools
import importlib.util
import types

_MISSING_OPERATORS = ("nms", "qnms")


@functools.cache
def mend_torchvision() -> None:
    """Declare the operators without which torchvision cannot be imported beside a CPU build of torch.

    torchvision's compiled operators are absent there, and transformers and timm import torchvision whenever
    it is installed. Declared, not implemented: calling one still fails, and nothing here calls them.
    """
    import torch

    if importlib.util.find_spec("torchvision") is None or torch.version.cuda or torch.version.hip:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _MISSING_OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # The declarations live as long as the library object does.
    mend_torchvision.library = library


def import_transformers() -> types.ModuleType:
    mend_torchvision()
    import transformers

    return transformers


def import_timm() -> types.ModuleType:
    """Raises ModelError where the `vision` extra is not installed."""
    from .model import ModelError

    mend_torchvision()
    try:
        import timm
    except ImportError as error:
        raise ModelError("timm models need the extra `vision`: pip install 'warmstart[vision]'") from error
    return timm
