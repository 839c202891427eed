"""Tiny checkpoints of every family, and a few rows for them."""

import copy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from warmstart import ingredients
from warmstart.data.dataset import Dataset
from warmstart.models import load_model
from warmstart.models.libraries import import_timm, import_transformers

NEEDED = {"together": {"together": {"tuners": ["sparse_update", "norm_affine"]}}}
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "card",
    "bank",
    "lost",
    "my",
    "is",
    "where",
    "red",
    "blue",
    "runs",
    "sleeps",
    "money",
]
SENTENCES = [
    "the cat sleeps",
    "my card is lost",
    "where is my money",
    "the dog runs",
    "a red cat is blue",
    "the bank lost my card my money",
    "dog",
    "where is the bank",
]
SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TEXT = {"vocab_size": 24, "max_position_embeddings": 32}
IMAGE = {"image_size": 16, "patch_size": 4}

TEXT_FAMILIES = ("bert", "distilbert", "gpt2", "llama")
IMAGE_FAMILIES = ("vit", "dinov2", "clip", "mobilenet")


def config_of(family: str):
    tf = import_transformers()
    if family == "bert":
        return tf.BertConfig(**SMALL, **TEXT, **NO_DROPOUT)
    if family == "distilbert":
        return tf.DistilBertConfig(
            dim=16, n_layers=3, n_heads=2, hidden_dim=24, dropout=0.0, attention_dropout=0.0, **TEXT
        )
    if family == "gpt2":
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return tf.GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=32, vocab_size=24, **no_dropout)
    if family == "llama":
        return tf.LlamaConfig(**SMALL, **TEXT, num_key_value_heads=1)
    if family == "vit":
        return tf.ViTConfig(**SMALL, **IMAGE, **NO_DROPOUT)
    if family == "dinov2":
        return tf.Dinov2Config(**SMALL, **IMAGE, **NO_DROPOUT)
    tower = {**SMALL, "attention_dropout": 0.0, "projection_dim": 12}
    return tf.CLIPConfig(
        text_config={**tower, **TEXT, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0},
        vision_config={**tower, **IMAGE},
        projection_dim=12,
    )


def tiny_folder(family: str, folder: Path) -> Path:
    """A checkpoint in transformers' format, with its tokenizer or image settings."""
    tf = import_transformers()
    torch.manual_seed(0)
    backbone = tf.AutoModel.from_config(config_of(family))
    _unsettle(backbone)
    backbone.save_pretrained(folder)
    if family in (*TEXT_FAMILIES, "clip"):
        _tokenizer().save_pretrained(folder)
    if family in IMAGE_FAMILIES:
        tf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def tiny_model(family: str, folder: Path):
    """The loaded model; of `clip` the image tower alone."""
    if family == "mobilenet":
        return load_model(f"timm:mobilenetv2_050?weights={_mobilenet_weights(folder)}&size=32")
    model = load_model(str(tiny_folder(family, folder)))
    if family == "clip":
        del model.towers["text"]
    return model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """`tiny("bert")` -> a fresh copy of that family's tiny model."""
    made = {}

    def copy_of(family: str):
        if family not in made:
            made[family] = tiny_model(family, tmp_path_factory.mktemp(family))
        return copy.deepcopy(made[family])

    return copy_of


def tiny_rows(modality: str) -> Dataset:
    """Eight rows of two classes."""
    labels = pa.array([0, 1] * 4, pa.int64())
    if modality == "text":
        table = pa.table({"text": SENTENCES, "label": labels})
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
        images = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
        table = pa.table({"image": images, "label": labels})
    return Dataset(table, {modality: modality, "label": "label"}, ("no", "yes"), "tiny")


def build_tuner(spec):
    """A tuner of the sweeps: at its defaults, or with what it cannot be without."""
    return ingredients.build("tuners", NEEDED.get(spec, spec) if isinstance(spec, str) else spec)


def _mobilenet_weights(folder: Path) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = import_timm().create_model("mobilenetv2_050", pretrained=False)
    _unsettle(network)
    save_file(network.state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


@torch.no_grad()
def _unsettle(module: torch.nn.Module) -> None:
    """Norms and biases away from ones and zeros, so that no mistake in handling them can hide."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))
        elif "mobilenet" not in name and parameter.ndim == 2:
            parameter.mul_(3)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.add_(0.1 * torch.randn_like(buffer))


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[BOS]", "[EOS]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return import_transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]"
    )
