"""Dual encoders of images and texts with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from .cnn import cnn_config
from .initialization import start_near, start_small
from .libraries import import_transformers
from .loaders import with_inputs
from .model import Model
from .patch_decoder import sine_positions
from .settings import image_settings, text_settings
from .tokenizers import make_tokenizer

_HALF = (0.5, 0.5, 0.5)


def dual_encoder(
    tokenizer: str = "world",
    image: Literal["vit", "cnn"] = "vit",
    width: int = 96,
    depth: int = 4,
    heads: int = 3,
    widths: Sequence[int] = (32, 64, 128),
    depths: Sequence[int] = (1, 1, 1),
    text_width: int = 96,
    text_depth: int = 2,
    text_heads: int = 3,
    projection: int = 64,
    patch: int = 4,
    image_size: int = 32,
    context: int = 32,
    ffn_ratio: float = 4.0,
) -> Model:
    """A CLIP (Radford et al. 2021, arXiv 2103.00020), with projections and logit scale.

    image: `vit`, and the whole is transformers' CLIPModel; or `cnn`, the network of the builder of that name, which
    learns shapes from far fewer pictures (an architecture of ours, of two of transformers').
    width, depth, heads, patch: of a ViT, read at its class token. widths, depths: of a CNN's stages. image_size:
    pixels. text_width, text_depth, text_heads, context: of the text tower, read at [EOS]. projection: width of the
    shared space. tokenizer: see `make_tokenizer`; texts stand between [BOS] and [EOS].
    """
    for one, many in ((width, heads), (text_width, text_heads)):
        if one % many:
            raise ValueError(f"width {one} must be a multiple of heads {many}")
    if image_size % patch:
        raise ValueError(f"image_size {image_size} must be a multiple of patch {patch}")
    transformers = import_transformers()
    made = make_tokenizer(tokenizer, frame="lines", max_length=context)
    text_config = {
        "vocab_size": len(made),
        "hidden_size": text_width,
        "num_hidden_layers": text_depth,
        "num_attention_heads": text_heads,
        "intermediate_size": round(ffn_ratio * text_width),
        "max_position_embeddings": context,
        "projection_dim": projection,
        "bos_token_id": made.bos_token_id,
        "eos_token_id": made.eos_token_id,
        "pad_token_id": made.pad_token_id,
    }
    if image == "vit":
        vision_config = {
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": round(ffn_ratio * width),
            "image_size": image_size,
            "patch_size": patch,
            "projection_dim": projection,
        }
        backbone = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text_config, vision_config=vision_config, projection_dim=projection)
        )
        start_small(backbone.vision_model, width)
    else:
        backbone = _paired(transformers, text_config, widths, depths, projection)
    start_small(backbone.text_model, text_width)
    start_small(backbone.visual_projection, width)
    start_small(backbone.text_projection, text_width)
    if image == "vit":
        _place(backbone.vision_model, image_size // patch)
    settings = {
        "image": image_settings(image_size, _HALF, _HALF, {}),
        "text": text_settings(made, backbone.config.text_config, limit=context),
    }
    return with_inputs("dual_encoder", backbone.eval(), settings)


def _paired(transformers, text_config: dict, widths: Sequence[int], depths: Sequence[int], projection: int):
    from .paired_encoders import PairedEncoders, PairedEncodersConfig

    config = PairedEncodersConfig(
        cnn_config(transformers, widths, depths),
        transformers.CLIPTextConfig(**text_config),
        vision_width=widths[-1],
        text_width=text_config["hidden_size"],
        projection_dim=projection,
    )
    return PairedEncoders(config)


@torch.no_grad()
def _place(vit: nn.Module, side: int) -> None:
    """Positions are sines and cosines; queries and keys start alike."""
    vit.embeddings.position_embedding.weight[1:] = sine_positions(side, side, vit.config.hidden_size)
    start_near(layer.self_attn for layer in vit.encoder.layers)
