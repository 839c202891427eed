"""Convolutional networks with random weights."""

from __future__ import annotations

from collections.abc import Sequence

from .libraries import import_transformers
from .loaders import with_inputs
from .model import Model
from .settings import image_settings

_HALF = (0.5, 0.5, 0.5)


def cnn(
    widths: Sequence[int] = (32, 64, 128),
    depths: Sequence[int] = (1, 1, 1),
    stem: int = 32,
    groups_width: int = 0,
    image_size: int = 32,
) -> Model:
    """A residual network with batch norms for small images: RegNetX (Radosavovic et al. 2020, arXiv 2003.13678).

    widths, depths: channels and layers of each stage; a stage after the first halves the map. stem: channels of the
    first convolution, which halves the image. groups_width: channels of a group of each 3 x 3 convolution; 0 for
    convolutions without groups. image_size: pixels, 28 to 32 are meant.
    A row's vector is the mean over the last map; `Tower.feature_map` gives the map.
    Differs from transformers' ResNetModel, whose first two layers shrink an image fourfold before any block sees it.
    """
    transformers = import_transformers()
    settings = image_settings(image_size, _HALF, _HALF, {})
    backbone = transformers.RegNetModel(cnn_config(transformers, widths, depths, stem, groups_width))
    return with_inputs("cnn", backbone.eval(), {"image": settings})


def cnn_config(transformers, widths: Sequence[int], depths: Sequence[int], stem: int = 32, groups_width: int = 0):
    """Raises ValueError where widths and depths are of different lengths."""
    if len(widths) != len(depths):
        raise ValueError(f"widths has {len(widths)} stages, depths {len(depths)}: give as many")
    return transformers.RegNetConfig(
        embedding_size=stem,
        hidden_sizes=list(widths),
        depths=list(depths),
        groups_width=groups_width or max(widths),
        layer_type="x",
        downsample_in_first_stage=False,
    )
