"""What can be attached to a model: modules that a checkpoint rebuilds from a name and plain arguments."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def linear(width: int, outputs: int, zero: bool = True) -> nn.Linear:
    """A linear head (B, width) -> (B, outputs); its weights start at zero where `zero`."""
    head = nn.Linear(width, outputs)
    if zero:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return head


def mlp(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """A projection head: linear, GELU, linear."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, outputs))


BUILDERS: dict[str, Callable[..., nn.Module]] = {"linear": linear, "mlp": mlp}
