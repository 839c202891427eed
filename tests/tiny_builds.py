"""Every builder at its smallest, and rows of every modality for them."""

import numpy as np
import pyarrow as pa
from tiny_models import SENTENCES, WORDS

from warmstart.data.dataset import Dataset
from warmstart.models.builders import build_model

TOKENIZER = f"words:{' '.join(WORDS)}"
TEXT = {"tokenizer": TOKENIZER, "width": 16, "depth": 2, "heads": 2, "context": 16}
IMAGE = {"image_size": 16, "patch": 4}

BUILDS = {
    "vit": {"width": 16, "depth": 2, "heads": 2, **IMAGE},
    "cnn": {"widths": [8, 16], "depths": [1, 1], "stem": 8, "image_size": 16},
    "transformer_lm": {**TEXT, "sentinels": 2},
    "text_encoder": TEXT | {"dropout": 0.0},
    "encoder_decoder": TEXT | {"sentinels": 4},
    "dual_encoder": {"tokenizer": TOKENIZER, "width": 16, "depth": 2, "heads": 2, "projection": 8, **IMAGE}
    | {"text_width": 16, "text_depth": 2, "text_heads": 2, "context": 16},
    "dual_encoder of a cnn": {"tokenizer": TOKENIZER, "image": "cnn", "widths": [8, 16], "depths": [1, 1]}
    | {"projection": 8, **IMAGE, "text_width": 16, "text_depth": 2, "text_heads": 2, "context": 16},
    "captioner": {**TEXT, "decoder_depth": 1, **IMAGE},
    "audio_encoder": {"width": 16, "depth": 2, "heads": 2, "frames": 16, "mel_bins": 16},
    "modality_shared_transformer": {**TEXT, "frames": 2, "image_size": 16, "audio_frames": 16, "mel_bins": 16},
}
WRITERS = ("transformer_lm", "encoder_decoder", "captioner")


def tiny_build(name: str, seed: int = 0):
    return build_model({name.partition(" ")[0]: BUILDS[name]}, seed=seed)


def every_modality() -> Dataset:
    """Eight rows of two classes, with an image, a clip, a sound and two texts each."""
    draw = np.random.default_rng(0)

    def tensors(array):
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))

    table = pa.table(
        {
            "image": tensors(draw.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)),
            "video": tensors(draw.integers(0, 256, (8, 3, 16, 16, 3), dtype=np.uint8)),
            "audio": tensors(draw.uniform(-1, 1, (8, 2000)).astype(np.float32)),
            "text": SENTENCES,
            "text_2": SENTENCES[1:] + SENTENCES[:1],
            "label": pa.array([0, 1] * 4, pa.int64()),
        }
    )
    kinds = {role: role for role in ("image", "video", "audio", "text", "label")} | {"text_2": "text"}
    return Dataset(table, kinds, ("no", "yes"), "tiny")
