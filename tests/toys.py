"""Tiny models and data sets that many tests share."""

import csv
import json
from pathlib import Path

import numpy as np

from warmstart.models.libraries import import_transformers

TOPICS = {
    "animals": ["cat", "dog", "bird", "fish", "horse", "mouse"],
    "food": ["bread", "milk", "soup", "rice", "cheese", "apple"],
    "weather": ["rain", "snow", "wind", "sun", "cloud", "storm"],
}
FILLERS = ["the", "a", "some", "my", "one", "and", "with", "by", "near", "old", "new", "big"]


def save_tiny_bert(folder: Path) -> Path:
    """A BERT of two blocks with random weights and a tokenizer of whole words, in transformers' format."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    transformers = import_transformers()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *FILLERS, *(word for topic in TOPICS.values() for word in topic)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=16, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


def save_tiny_vit(folder: Path) -> Path:
    import torch

    transformers = import_transformers()

    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16, patch_size=4,
        initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    settings = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def sentences(topic: str, count: int, seed: int) -> list[str]:
    """Three words of the topic among three that mean nothing, all different."""
    rng = np.random.default_rng([seed, list(TOPICS).index(topic)])
    found: dict[str, None] = {}
    while len(found) < count:
        words = [*rng.choice(TOPICS[topic], 3), *rng.choice(FILLERS, 3)]
        found[" ".join(rng.permutation(words))] = None
    return list(found)


def write_topics(folder: Path, train: int = 8, test: int = 20) -> Path:
    """train.csv and test.csv with so many rows of each of three topics."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate((("train", train), ("test", test))):
        write_csv(
            folder / f"{split}.csv", [(text, topic) for topic in TOPICS for text in sentences(topic, count, seed)]
        )
    return folder


def write_csv(path: Path, rows, header=("text", "label")) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_shapes(folder: Path, train: int = 6, test: int = 12) -> Path:
    """train/ and test/ of small PNGs by class: the left or the right half is bright."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for side, name in enumerate(("left", "right")):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 90, (16, 16, 3), dtype=np.uint8)
                pixels[:, 8 * side : 8 * side + 8] += 120
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder
