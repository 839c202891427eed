"""The named models of a run."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from ..models import Model


class Cast:
    """`cast.model` is what trains; further members own weights or are derived from another member.

    A derived member is refreshed after every update:
    frozen:  a copy made once, never changed;
    average: w <- rate * w + (1 - rate) * source, an exponential moving average of all weights (buffers copied).

    averages: the moving averages, name -> (source, rate).
    """

    def __init__(self, model: Model, **members: Model):
        self.members: dict[str, Model] = {"model": model, **members}
        self.averages: dict[str, tuple[str, float]] = {}

    @property
    def model(self) -> Model:
        return self.members["model"]

    def __getitem__(self, name: str) -> Model:
        if name not in self.members:
            raise LookupError(f"no member {name!r} in this run; it has: {', '.join(self.members)}")
        return self.members[name]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def freeze(self, name: str, source: str = "model") -> Model:
        """Add a frozen copy of a member under this name."""
        self.members[name] = copy.deepcopy(self[source]).requires_grad_(False).eval()
        return self.members[name]

    def average(self, name: str, rate: float, source: str = "model") -> Model:
        """Add a moving average of a member under this name."""
        if not 0 <= rate < 1:
            raise ValueError(f"the rate of a moving average lies in [0, 1), not {rate}")
        self.averages[name] = (source, rate)
        return self.freeze(name, source)

    def rebuild(self) -> None:
        """Copy the sources of averages again, where these got other weights by a change of structure."""
        for name, (source, _) in self.averages.items():
            if dict(self[name].named_parameters()).keys() != dict(self[source].named_parameters()).keys():
                self.freeze(name, source)

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the derived members up to date."""
        for name, (source, rate) in self.averages.items():
            averaged = dict(self[name].named_parameters())
            for key, value in self[source].named_parameters():
                averaged[key].lerp_(value.to(averaged[key].dtype), 1 - rate)
            buffers = dict(self[name].named_buffers())
            for key, value in self[source].named_buffers():
                buffers[key].copy_(value)
