"""A tuner's place behind a tower's pooling, where no architecture has a layer of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from .model import Model
from .tower import DECODER, Tower
from .wrapped import Wrapped, is_wrapper

Kind = TypeVar("Kind", bound=Wrapped)


def encoders(model: Model) -> list[Tower]:
    """The towers that give vectors of rows."""
    return [tower for name, tower in model.towers.items() if name != DECODER]


def pooled_width(tower: Tower) -> int:
    """Width of the vector that a tower gives: that of its projection or, without one, of its last layer."""
    project = tower.project
    while project is not None and is_wrapper(project):
        project = project.base_layer
    if isinstance(project, nn.Linear):
        return project.out_features
    own = [parameter for name, parameter in tower.named_parameters() if not name.startswith(_own(tower))]
    return own[-1].shape[0]


def behind_pooling(model: Model, tower: Tower, kind: type[Kind], make: Callable[[nn.Module], Kind]) -> Kind:
    """The wrapper of this kind that reads a row's pooled vector; made and put there where there is none.

    It stands around the tower's projection or, where it has none, around the identity, which the encoder then
    holds under a name of its own: so it is saved, copied and found like every other wrapper.
    """
    found = tower.project
    while found is not None and is_wrapper(found):
        if isinstance(found, kind):
            return found
        found = found.base_layer
    if tower.project is None:
        wrapper = make(nn.Identity())
        tower.module.add_module(_own(tower), wrapper)
    else:
        paths = {id(module): path for path, module in model.backbone.named_modules()}
        wrapper = make(tower.project)
        model.backbone.set_submodule(paths[id(tower.project)], wrapper)
    tower.project = wrapper.to(model.device)
    return wrapper


def no_place(model: Model) -> str | None:
    """Why nothing can stand behind the pooling of this model, in words for the user; None where it can."""
    if any(tower.project is None and isinstance(tower.module, nn.Sequential) for tower in encoders(model)):
        return "an nn.Sequential runs whatever is put into it: wrap it in a module with a forward of its own"
    return None


def _own(tower: Tower) -> str:
    return f"{tower.modality}_pooled"
