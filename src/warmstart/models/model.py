"""A model: the encoders it came with, and the modules attached to them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .encoding import Encoding
from .errors import ModelError
from .language import Language
from .parts import BUILDERS
from .reading import reading
from .tokens import Tokens
from .tower import DECODER, Tower


class Model(nn.Module):
    """Named towers and attached modules; it owns everything that trains.

    source: the specification it was loaded from (`minilm`, `hf:...`, `timm:...`, `zoo/...`, a folder).
    backbone: the module that came from there.
    towers: modality -> Tower, views of the backbone. Where tokens are written by a decoder beside an encoder, it
        is the tower `decoder`, so that tuners reach its parts; it encodes nothing.
    tokenizer: transformers' own, None where the model neither reads nor writes text.
    attached: heads, projections and decoders, by name.
    changes: the structural changes made since loading, in order, as the checkpoint replays them.
    """

    def __init__(self, source: str, backbone: nn.Module, towers: dict[str, Tower], save_inputs=None):
        super().__init__()
        self.source, self.backbone, self.save_inputs = source, backbone, save_inputs
        self.tokenizer = None
        self.attached = nn.ModuleDict()
        self.changes: list[dict] = []
        # Towers are views: outside nn.Module's registry, so that every weight has one owner and one name.
        object.__setattr__(self, "towers", towers)
        self._beside = _outside(backbone, towers.values())

    def __deepcopy__(self, memo: dict) -> Model:
        """A copy whose towers view the copied weights."""
        twin = Model.__new__(Model)
        nn.Module.__init__(twin)
        memo[id(self)] = twin
        twin.source, twin.save_inputs, twin.tokenizer = self.source, self.save_inputs, self.tokenizer
        twin.backbone = copy.deepcopy(self.backbone, memo)
        twin.attached = copy.deepcopy(self.attached, memo)
        twin.changes = copy.deepcopy(self.changes)
        twin._beside = self._beside
        towers = {}
        for name, tower in self.towers.items():
            view = copy.copy(tower)
            view.module = memo[id(tower.module)]
            view.project = None if tower.project is None else memo[id(tower.project)]
            towers[name] = view
        object.__setattr__(twin, "towers", towers)
        return twin

    def tower(self, modality: str | None = None) -> Tower:
        """The tower that reads this modality; the only one where none is named."""
        readers = [name for name in self.towers if name != DECODER]
        if modality is None and len(readers) == 1:
            return self.towers[readers[0]]
        if modality not in self.towers:
            raise ModelError(
                f"{self.source} reads {' and '.join(readers)}, not {modality}: "
                f"choose a model for {modality}, or name the {' or '.join(readers)} column"
            )
        return self.towers[modality]

    @property
    def language(self) -> Language:
        """How the model scores and writes tokens; ModelError where it does not."""
        return Language(self)

    @property
    def tokens(self) -> Tokens:
        """The tokens that the model reads or writes; ModelError where it has no tokenizer."""
        if self.tokenizer is None:
            raise ModelError(f"{self.source} has no tokenizer: it reads {' and '.join(self.towers)}")
        return Tokens(self.tokenizer)

    def encode(self, batch: dict, modality: str | None = None, keep: Sequence[str] = ()) -> Encoding:
        """batch: inputs by modality, as `Rows.batch` makes them."""
        tower = self.tower(modality if modality is not None else batch.get("modality"))
        with reading(batch):
            return tower.encode(batch[tower.modality], keep)

    def attach(self, name: str, part: str, **arguments) -> nn.Module:
        """Add what `models.parts.BUILDERS[part](**arguments)` makes, under this name; a checkpoint repeats it."""
        self.attached[name] = BUILDERS[part](**arguments).to(self.device)
        self.changes.append({"attach": name, "part": part, "arguments": arguments})
        return self.attached[name]

    def beside(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(path in the backbone, parameter) of what no tower holds: a language head of its own, a logit scale.

        As the model was loaded: a tower that was taken away since is not beside the others.
        """
        for name, parameter in self.backbone.named_parameters():
            if name in self._beside:
                yield name, parameter

    def blocks_below(self, top: int) -> int:
        """How many blocks of every tower lie below its last `top`; 0 where a forward cannot be entered there."""
        return min(max(t.depth - top, 0) if t.layout.resumable else 0 for t in self.towers.values())

    def forget(self, change: dict) -> None:
        """Drop a change that the weights no longer show, such as a tuner's after it was folded."""
        self.changes = [known for known in self.changes if known != change]

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.named_parameters() if p.requires_grad]

    def freeze(self) -> None:
        """Nothing trains, but what is attached."""
        self.requires_grad_(False)
        self.attached.requires_grad_(True)

    def weights(self) -> dict[str, nn.Parameter]:
        """Every parameter by its name, one that is shared by several layers once: what arithmetic of weights reads."""
        return dict(self.named_parameters())

    @contextmanager
    def with_weights(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, the model computes with these tensors in the places of its own parameters or buffers.

        tensors: by the names of `named_parameters` and `named_buffers`; what is not named stays. Gradients flow into
        them: towers, attached modules and hooks read them as they would read the model's own. A tensor for a shared
        weight stands wherever that weight is shared.
        Raises ModelError for a name that the model does not have, or another shape.
        """
        places = self._places(tensors)
        owned = [(registry, name, registry[name]) for found in places.values() for registry, name in found]
        try:
            for key, found in places.items():
                for registry, name in found:
                    registry[name] = tensors[key]
            yield
        finally:
            for registry, name, tensor in owned:
                registry[name] = tensor

    def _places(self, tensors: Mapping[str, Tensor]) -> dict[str, list[tuple[dict, str]]]:
        """Name -> every (registry of a module, key in it) where that tensor stands."""
        named, sharing = {}, {}
        for path, module in self.named_modules(remove_duplicate=False):
            for registry in (module._parameters, module._buffers):
                for name, tensor in registry.items():
                    if tensor is not None:
                        named[f"{path}.{name}" if path else name] = tensor
                        sharing.setdefault(id(tensor), {})[id(registry), name] = (registry, name)
        for name, tensor in tensors.items():
            if name not in named:
                raise ModelError(f"{self.source} has no weight {name!r}")
            if named[name].shape != tensor.shape:
                raise ModelError(f"{name} has shape {tuple(named[name].shape)}, not {tuple(tensor.shape)}")
        return {name: list(sharing[id(named[name])].values()) for name in tensors}

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device


def _outside(backbone: nn.Module, towers: Iterable[Tower]) -> frozenset[str]:
    held = [module for tower in towers for module in (tower.module, tower.project) if module is not None]
    inside = {id(parameter) for module in held for parameter in module.parameters()}
    return frozenset(name for name, parameter in backbone.named_parameters() if id(parameter) not in inside)


def fingerprint(module: nn.Module) -> str:
    """Content hash of all weights and buffers of a module, and of their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def count(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in parameters)
