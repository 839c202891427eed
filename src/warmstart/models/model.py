"""A model: the encoders it came with, and the modules attached to them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .encoding import Encoding
from .parts import BUILDERS
from .tower import Tower


class ModelError(ValueError):
    """A model cannot be loaded or used so: one line for the user."""


class Model(nn.Module):
    """Named towers and attached modules; it owns everything that trains.

    source: the specification it was loaded from (`minilm`, `hf:...`, `timm:...`, `zoo/...`, a folder).
    backbone: the module that came from there.
    towers: modality -> Tower, views of the backbone.
    attached: heads, projections and decoders, by name.
    changes: the structural changes made since loading, in order, as the checkpoint replays them.
    """

    def __init__(self, source: str, backbone: nn.Module, towers: dict[str, Tower], save_inputs=None):
        super().__init__()
        self.source, self.backbone, self.save_inputs = source, backbone, save_inputs
        self.attached = nn.ModuleDict()
        self.changes: list[dict] = []
        # Towers are views: outside nn.Module's registry, so that every weight has one owner and one name.
        object.__setattr__(self, "towers", towers)

    def __deepcopy__(self, memo: dict) -> Model:
        """A copy whose towers view the copied weights."""
        twin = Model.__new__(Model)
        nn.Module.__init__(twin)
        memo[id(self)] = twin
        twin.source, twin.save_inputs = self.source, self.save_inputs
        twin.backbone = copy.deepcopy(self.backbone, memo)
        twin.attached = copy.deepcopy(self.attached, memo)
        twin.changes = copy.deepcopy(self.changes)
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
        if modality is None and len(self.towers) == 1:
            return next(iter(self.towers.values()))
        if modality not in self.towers:
            raise ModelError(
                f"{self.source} reads {' and '.join(self.towers)}, not {modality}: "
                f"choose a model for {modality}, or name a {' or '.join(self.towers)} column"
            )
        return self.towers[modality]

    def encode(self, batch: dict, modality: str | None = None, keep: Sequence[str] = ()) -> Encoding:
        """batch: inputs by modality, as `Rows.batch` makes them."""
        tower = self.tower(modality if modality is not None else batch.get("modality"))
        return tower.encode(batch[tower.modality], keep)

    def attach(self, name: str, part: str, **arguments) -> nn.Module:
        """Add what `models.parts.BUILDERS[part](**arguments)` makes, under this name; a checkpoint repeats it."""
        self.attached[name] = BUILDERS[part](**arguments).to(self.device)
        self.changes.append({"attach": name, "part": part, "arguments": arguments})
        return self.attached[name]

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

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device


def fingerprint(module: nn.Module) -> str:
    """Content hash of all weights and buffers of a module, and of their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def count(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in parameters)
