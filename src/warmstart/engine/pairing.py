"""Embeddings of rows, two a row as a rule: what contrastive objectives compare."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.dataset import DataError
from .cast import Cast
from .masks import drawn, with_grid
from .rows import Rows
from .step import Step


@dataclass(frozen=True)
class Side:
    """key: which inputs of a batch. head: its projection. draw: which view; None for the rows as they are."""

    key: str
    modality: str
    head: str
    draw: int | None = None


class Pairing:
    """Where the two sides of a pair come from, and how they are embedded.

    view: pairs are two draws of this view of one row (of several, each applied to what the one before it made);
        None: the row's two roles.
    roles: the two roles; None takes a dual encoder's two modalities, else the first two columns of one modality.
    projection: width of a projection head (linear, GELU, linear) attached on top; None for none.
    layers: linear layers of that head.
    single: there is but one side, the rows as they are.
    """

    def __init__(
        self, view, roles: tuple[str, str] | None, projection: int | None, layers: int = 2, single: bool = False
    ):
        self.view, self.roles, self.projection, self.layers = view, roles, projection, layers
        self.single = single
        self.sides: tuple[Side, ...] = ()

    def prepare(self, cast: Cast, data: Rows) -> None:
        """Find the sides and attach the heads. Raises DataError where the rows have no two sides."""
        if self.single:
            self.sides = (Side(data.modality, data.modality, "projection"),)
        elif self.view is not None:
            self.sides = tuple(Side(data.modality, data.modality, "projection", draw) for draw in (0, 1))
        else:
            kinds = data.dataset.roles
            roles = self._roles(cast, data)
            heads = [f"projection_{kinds[role]}" for role in roles]
            heads = ["projection"] * 2 if heads[0] == heads[1] else heads
            self.sides = tuple(
                Side(data.keys[role], kinds[role], head) for role, head in zip(roles, heads, strict=True)
            )
        if self.projection is not None:
            for side in self.sides:
                self._attach(cast, data, side)

    def _roles(self, cast: Cast, data: Rows) -> tuple[str, str]:
        known = {role: data.dataset.roles[role] for role in data.keys}
        if self.roles is not None:
            for role in self.roles:
                if role not in known:
                    raise DataError(
                        f"{data.dataset.name}: no column {role!r} that {cast.model.source} reads; "
                        f"it reads: {', '.join(known) or 'none of them'}"
                    )
            return tuple(self.roles)
        first = {kind: role for role, kind in reversed(known.items())}
        for roles in (tuple(first[kind] for kind in known.values()), tuple(known)):
            distinct = tuple(dict.fromkeys(roles))
            if len(distinct) >= 2:
                return distinct[:2]
        raise DataError(
            f"{data.dataset.name}: pairs need two columns that {cast.model.source} reads, or a view; "
            f"it reads: {', '.join(known) or 'none of them'}"
        )

    def _attach(self, cast: Cast, data: Rows, side: Side) -> None:
        if side.head in cast.model.attached:
            return
        with torch.no_grad():
            width = cast.model.tower(side.modality).encode(data.batch([0])[side.key]).pooled.shape[1]
        cast.model.attach(side.head, "mlp", width=width, hidden=width, outputs=self.projection, layers=self.layers)

    def embed(self, cast: Cast, batch: dict, step: Step, member: str = "model") -> list[Tensor]:
        """The sides of the rows, each (B, D) float32 of unit length; without gradient for another member."""
        model = cast[member]
        with torch.set_grad_enabled(torch.is_grad_enabled() and member == "model"):
            return [self._one(model, batch, step, side) for side in self.sides]

    def _one(self, model, batch: dict, step: Step, side: Side) -> Tensor:
        tower = model.tower(side.modality)
        if side.draw is not None:
            batch = drawn(self.view, with_grid(batch, tower), step, side.draw)
        pooled = tower.encode(batch[side.key]).pooled
        if self.projection is not None:
            pooled = model.attached[side.head](pooled)
        return nn.functional.normalize(pooled.float(), dim=-1)
