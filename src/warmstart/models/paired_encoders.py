"""An image and a text encoder of any two architectures of transformers, in one checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .libraries import import_transformers

transformers = import_transformers()

# CLIP's first temperature, 0.07.
_LOGIT_SCALE = 2.6592


class PairedEncodersConfig(transformers.PreTrainedConfig):
    """vision_config, text_config: configurations of two encoders. vision_width, text_width: of their pooled vectors.

    projection_dim: width of the shared space.
    """

    model_type = "warmstart_paired_encoders"
    sub_configs = {"vision_config": transformers.AutoConfig, "text_config": transformers.AutoConfig}

    def __init__(self, vision_config=None, text_config=None, vision_width=1, text_width=1, projection_dim=64, **kwargs):
        self.vision_config, self.text_config = _config(vision_config), _config(text_config)
        self.vision_width, self.text_width, self.projection_dim = vision_width, text_width, projection_dim
        super().__init__(**kwargs)


class PairedEncoders(transformers.PreTrainedModel):
    """With transformers' CLIPModel's names for its parts: vision_model, text_model, their projections, logit_scale.

    Differs from transformers' VisionTextDualEncoderModel: the image encoder may be a convolutional network, whose
    pooled output is a map.
    """

    config_class = PairedEncodersConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"

    def __init__(self, config: PairedEncodersConfig):
        super().__init__(config)
        self.vision_model = transformers.AutoModel.from_config(config.vision_config)
        self.text_model = transformers.AutoModel.from_config(config.text_config)
        self.visual_projection = nn.Linear(config.vision_width, config.projection_dim, bias=False)
        self.text_projection = nn.Linear(config.text_width, config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(_LOGIT_SCALE))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Left to the two encoders, and to torch."""

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs):
        """image_embeds, text_embeds (B, projection_dim) of length 1; logits_per_image (images, texts)."""
        image = self.vision_model(pixel_values=pixel_values).pooler_output.flatten(1)
        text = self.text_model(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        image = nn.functional.normalize(self.visual_projection(image), dim=-1)
        text = nn.functional.normalize(self.text_projection(text), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        return transformers.modeling_outputs.ModelOutput(
            logits_per_image=logits, logits_per_text=logits.T, image_embeds=image, text_embeds=text
        )


def _config(given):
    """A configuration from what config.json holds of it."""
    if not isinstance(given, dict):
        return given
    return transformers.AutoConfig.for_model(**given)


def register() -> None:
    """Known to AutoConfig and AutoModel, so that its checkpoints load as any other's."""
    transformers.AutoConfig.register(PairedEncodersConfig.model_type, PairedEncodersConfig, exist_ok=True)
    transformers.AutoModel.register(PairedEncodersConfig, PairedEncoders, exist_ok=True)
