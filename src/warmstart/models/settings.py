"""What a checkpoint's folder says about inputs and pooling, read and written: tokenizer, pixels, sentence settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .inputs import ImageInputs, TextInputs
from .libraries import import_transformers


@dataclass(frozen=True)
class InputSettings:
    """One tower's side of the data.

    prepare: (dataset, role) -> model inputs by row. save: writes the files that say so into a folder.
    pooling: `Tower`'s `pool`, `normalize`, `skip_tokens`, as far as the folder states them.
    """

    prepare: Callable
    save: Callable[[Path], None]
    pooling: dict = field(default_factory=dict)


def image_settings(size: int, mean: Sequence[float], std: Sequence[float], pooling: dict) -> InputSettings:
    """pooling: stands in `warmstart.json`, since no library's format has a place for it."""

    def save(folder: Path) -> None:
        settings = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": size, "width": size},
            "resample": 3,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(mean),
            "image_std": list(std),
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=1))
        if pooling:
            (folder / "warmstart.json").write_text(json.dumps(pooling, indent=1))

    return InputSettings(lambda dataset, role="image": ImageInputs(dataset, size, mean, std, role), save, pooling)


def read_image_settings(folder: Path | str, config, pooling: dict) -> InputSettings:
    settings = read_json(folder, "preprocessor_config.json")
    size = settings.get("crop_size") or settings.get("size") or {}
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge") or getattr(config, "image_size", 224)
    half = [0.5, 0.5, 0.5]
    return image_settings(int(size), settings.get("image_mean", half), settings.get("image_std", half), pooling)


def read_text_settings(folder: Path | str, config, *, sentence: bool) -> InputSettings:
    """sentence: pooled as a sentence encoder (mean where the folder does not say), else by the architecture."""
    tokenizer = _tokenizer(folder)
    if not sentence:
        return InputSettings(_text_prepare(tokenizer, config.max_position_embeddings), tokenizer.save_pretrained)
    flags = read_json(folder, "1_Pooling/config.json")
    pooling = "first" if flags.get("pooling_mode_cls_token") else "mean"
    modules = read_json(folder, "modules.json") or []
    normalize = any(str(module.get("type", "")).endswith("Normalize") for module in modules)
    limit = int(read_json(folder, "sentence_bert_config.json").get("max_seq_length") or 512)
    limit = min(limit, getattr(config, "max_position_embeddings", limit))

    def save(target: Path) -> None:
        tokenizer.save_pretrained(target)
        _save_sentence_settings(target, config.hidden_size, pooling, normalize, limit)

    return InputSettings(_text_prepare(tokenizer, limit), save, {"pool": pooling, "normalize": normalize})


def _save_sentence_settings(folder: Path, width: int, pooling: str, normalize: bool, max_length: int) -> None:
    """As sentence-transformers reads them."""
    kinds = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=1))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    flags = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": pooling == "first",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))


def _text_prepare(tokenizer, max_length: int) -> Callable:
    return lambda dataset, role="text": TextInputs(tokenizer, dataset.texts(role), max_length)


def _tokenizer(folder: Path | str):
    tokenizer = import_transformers().AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def read_json(folder: Path | str, name: str) -> dict | list:
    """A small configuration file of a folder or, for a hub id, of its cached snapshot; empty where absent."""
    path = Path(folder) / name
    if not path.exists() and not Path(folder).is_dir():
        from transformers.utils import cached_file

        found = cached_file(str(folder), name, _raise_exceptions_for_missing_entries=False)
        path = Path(found) if found else path
    return json.loads(path.read_text()) if path.exists() else {}
