"""Classifiers at inner depths, at which easy rows stop."""

from __future__ import annotations

import torch

from ..data.dataset import Splits
from ..engine.exits import EXITS, exit_costs, exit_states
from ..engine.rows import Rows
from ..engine.scores import HEAD
from ..models import Model
from . import Compressor


class EarlyExit(Compressor):
    """A linear head and a gate behind blocks of the model; a row leaves at the first whose gate says so.

    gate g_l = sigmoid(w_l . u_l + b_l), u_l = [max p, entropy, margin of the two largest, entropy of p^2 / sum p^2]
    leaves at the first l with P_l / prod_{k<l} (1 - p_k) >= 0.5, P_l = max(0, min(g_l, 1 - sum_{k<l} g_k)), and with
    the model's own `head` where there is none

    What is attached to the model as `exits` is trained by the objective `multi_exit`; `engine.exits.exit_table` answers
    from it. Its costs are the floating point operations up to each exit, as shares of the whole encoder's.

    blocks: behind which blocks, counted from 0; None: behind each but the last.
    Raises ValueError for a model without a `head`, or without such blocks.
    Source: Regol, Chataoui and Coates 2023 (JEI-DNN, arXiv 2310.09163).
    Differs from the paper: the heads' own operations, below a percent, are not counted.
    """

    def __init__(self, blocks: list[int] | None = None):
        self.blocks = blocks

    def compress(self, model: Model, data: Splits) -> Model:
        if HEAD not in model.attached:
            raise ValueError("early_exit needs a model that answers: train with cross_entropy in an earlier step")
        rows = Rows(model, data.train)
        depth = model.tower(rows.modality).depth
        blocks = list(range(depth - 1)) if self.blocks is None else list(self.blocks)
        if not blocks or blocks != sorted(set(blocks)) or not 0 <= blocks[0] <= blocks[-1] < depth - 1:
            raise ValueError(f"blocks are in ascending order, from 0 to {depth - 2}, not {blocks}")
        head = model.attached[HEAD]
        row = rows.batch([0])
        with torch.no_grad():
            states, _ = exit_states(model, row, blocks)
        widths = [state.shape[1] for state in states]
        costs = exit_costs(model, row, blocks)
        model.attach(EXITS, "early_exits", widths=widths, outputs=head.out_features, blocks=blocks, costs=costs)
        return model
