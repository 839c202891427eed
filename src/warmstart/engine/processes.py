"""What several processes of one run tell each other."""

from __future__ import annotations

import torch
from torch import Tensor


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """The same (B, D) rows of all processes, (P B, D), and where this process's own begin.

    Gradients flow back to the process that owns a row. One process: the rows themselves, 0.
    """
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows, 0
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(rows)), distributed.get_rank() * len(rows)
