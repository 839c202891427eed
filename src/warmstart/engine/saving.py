"""A model on disk in the ecosystem's formats: a transformers folder, or a peft folder with its base model inside.

FOLDER/                 nothing of the backbone is re-parametrized:
  config.json, model.safetensors, tokenizer or preprocessor files: `AutoModel.from_pretrained(FOLDER)`
FOLDER/                 a tuner added to the backbone:
  adapter_config.json, adapter_model.safetensors, backbone/ (as above):
  `PeftModel.from_pretrained(AutoModel.from_pretrained(FOLDER/backbone), FOLDER)`
both:
  warmstart.json        the specification that loading replays
  attached.safetensors  heads and whatever else is attached
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..models import Model, ModelError, load_model
from ..models.wrapped import split_state

SPECIFICATION = "warmstart.json"
ATTACHED = "attached.safetensors"
BACKBONE = "backbone"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"

_IN_PEFT = "base_model.model."
# The name that peft gives an adapter in a model, and leaves out in a file.
_LORA = re.compile(r"(\.lora_[^.]+)\.default\b")
_POOLING = ("pool", "normalize", "skip_tokens")
_FORMER = (SPECIFICATION, ATTACHED, ADAPTER_CONFIG, ADAPTER, "config.json", "model.safetensors")


def save_model(model: Model, folder: Path | str) -> None:
    """Write a model so that transformers, or peft, reads it, and `load_saved` gives it back as it is.

    Files of an earlier save in this folder are replaced. A plain nn.Module, which no library can rebuild, is
    written as `model.safetensors` alone.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FORMER:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / BACKBONE, ignore_errors=True)
    plain, added = split_state(model.backbone)
    _save_backbone(model, plain, folder / BACKBONE if added else folder)
    if added:
        _save_adapter(model, added, folder)
    if len(model.attached):
        _save_tensors(model.attached.state_dict(), folder / ATTACHED)
    # Image settings that no library's format has a place for stand in the same file.
    stated = _read(folder / SPECIFICATION)
    specification = {"source": model.source, "towers": describe_towers(model), "changes": model.changes}
    (folder / SPECIFICATION).write_text(json.dumps(stated | specification, indent=1))


def release_model(model: Model, folder: Path | str) -> None:
    """Write the backbone alone, in half precision: what the zoo ships. What is attached is left out.

    `load_model` and transformers read it as any checkpoint, `load_model` in float32.
    Raises ModelError where a tuner's additions are still apart from the backbone, or no library can rebuild it.
    """
    plain, added = split_state(model.backbone)
    if added or not hasattr(model.backbone, "save_pretrained"):
        raise ModelError(f"{model.source} cannot be released: fold its tuner, and keep to architectures of libraries")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FORMER:
        (folder / name).unlink(missing_ok=True)
    _save_backbone(model, _halved(plain), folder)
    stated = _read(folder / SPECIFICATION)
    (folder / SPECIFICATION).write_text(json.dumps(stated | {"towers": describe_towers(model)}, indent=1))


def _halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """In half precision; what is one tensor under several names stays one."""
    made: dict[tuple, Tensor] = {}
    found = {}
    for name, tensor in tensors.items():
        key = tensor.data_ptr(), tensor.shape, tensor.dtype
        if key not in made:
            made[key] = tensor.half() if tensor.is_floating_point() else tensor
        found[name] = made[key]
    return found


def is_saved(folder: Path | str) -> bool:
    """Whether `save_model` wrote this folder."""
    return "changes" in _read(Path(folder) / SPECIFICATION)


def load_saved(folder: Path | str, build_tuner: Callable[[dict], object], module: nn.Module | None = None) -> Model:
    """The model that `save_model` wrote, wherever the folder is now; in evaluation mode.

    build_tuner: from a specification {name: {parameter: value}} to the tuner.
    module: the architecture, where a plain nn.Module was saved.
    Raises ModelError where the folder holds no saved model, or not all of its tensors.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not is_saved(folder):
        raise ModelError(f"{folder}: no saved model here ({SPECIFICATION} with its changes is missing)")
    specification = _read(folder / SPECIFICATION)
    adapted = (folder / ADAPTER_CONFIG).exists()
    model = _load_backbone(folder / BACKBONE if adapted else folder, module)
    model.source = specification["source"]
    shape_towers(model, specification["towers"])
    with torch.random.fork_rng():
        for change in specification["changes"]:
            _replay(model, change, build_tuner)
    if adapted:
        _load_adapter(model, folder)
    if len(model.attached):
        model.attached.load_state_dict(load_file(folder / ATTACHED))
    return model.eval()


def describe_towers(model: Model) -> dict[str, dict]:
    """Which of the backbone's towers the model has, and how each pools: {modality: {pool, normalize, ...}}."""
    return {name: {key: getattr(tower, key) for key in _POOLING} for name, tower in model.towers.items()}


def shape_towers(model: Model, described: dict[str, dict]) -> None:
    """Narrow a model to these towers, pooled so."""
    for name in list(model.towers):
        if name in described:
            vars(model.towers[name]).update(described[name])
        else:
            del model.towers[name]


def _save_backbone(model: Model, tensors: dict[str, Tensor], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if not hasattr(model.backbone, "save_pretrained"):
        _save_tensors(tensors, folder / "model.safetensors")
        return
    model.backbone.save_pretrained(folder, state_dict=tensors)
    if model.save_inputs is not None:
        model.save_inputs(folder)


def _load_backbone(folder: Path, module: nn.Module | None) -> Model:
    from safetensors.torch import load_file

    if (folder / "config.json").exists():
        return load_model(str(folder.resolve()))
    if module is None:
        raise ModelError(f"{folder}: holds the weights of a plain module: give the module they belong to")
    module.load_state_dict(load_file(folder / "model.safetensors"))
    return load_model(module)


def _save_adapter(model: Model, added: dict[str, Tensor], folder: Path) -> None:
    """LoRA alone as peft's own type; what else tuners added as our type, which names the tuners."""
    base = str((folder / BACKBONE).resolve())
    library = {"base_model_class": type(model.backbone).__name__, "parent_library": type(model.backbone).__module__}
    if all(_LORA.search(name) for name in added):
        config = copy.copy(model.backbone.peft_config["default"])
        config.base_model_name_or_path, config.inference_mode = base, True
        config.save_pretrained(str(folder), auto_mapping_dict=library)
        added = {_LORA.sub(r"\1", name): tensor for name, tensor in added.items()}
    else:
        config = {
            "peft_type": "WARMSTART",
            "tuners": [change["tune"] for change in model.changes if "tune" in change],
            "towers": describe_towers(model),
            "base_model_name_or_path": base,
            "auto_mapping": library,
            "inference_mode": True,
            "task_type": None,
        }
        (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=1))
    _save_tensors({_IN_PEFT + name: tensor for name, tensor in added.items()}, folder / ADAPTER)


@torch.no_grad()
def _load_adapter(model: Model, folder: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(folder / ADAPTER)
    nameless = _read(folder / ADAPTER_CONFIG)["peft_type"] == "LORA"
    names = {_IN_PEFT + (_LORA.sub(r"\1", name) if nameless else name): name for name in split_state(model.backbone)[1]}
    if names.keys() != tensors.keys():
        odd = sorted(names.keys() ^ tensors.keys())
        raise ModelError(f"{folder / ADAPTER}: does not fit the changes of {SPECIFICATION}: {', '.join(odd[:3])}")
    model.backbone.load_state_dict({names[name]: tensor for name, tensor in tensors.items()}, strict=False)


def _replay(model: Model, change: dict, build_tuner: Callable[[dict], object]) -> None:
    if "attach" in change:
        model.attach(change["attach"], change["part"], **change["arguments"])
    else:
        build_tuner(change["tune"]).apply(model)
        model.changes.append(change)


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}
