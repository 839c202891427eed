"""The top blocks train; the blocks below them, and the embeddings, stay frozen."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from ..engine.rows import Rows
from ..models import Model, Tower
from . import Tuner

_PARTS = ("all", "bias")


class Freeze(Tuner):
    """Partial fine-tuning: the last `top` blocks, what comes after them and the head train.

    w_l <- w_l - lr * AdamW(grad) for blocks l >= depth - top; embeddings and blocks below keep their weights, so
    that their states are computed once and trained from.

    top: how many of the last blocks train; 0 for what comes after the blocks alone (final norm, projection),
        None for every block and the embeddings too.
    parts: `all` weights there, or `bias`: bias terms only (with `top=None`: BitFit).
    Raises ValueError for another `parts` or a negative `top`.
    Source: Telly-K of Shi et al. 2023 (arXiv 2304.05216); BitFit of Ben Zaken et al. 2022 (arXiv 2106.10199).
    Differs from the papers: their learning rates are 5e-5 (Telly) and 4e-4 to 1e-3 (BitFit), ours fit small data.
    """

    learning_rates = (1e-4, 5e-4)

    def __init__(self, top: int | None = 2, parts: str = "all"):
        if parts not in _PARTS:
            raise ValueError(f"parts is one of {', '.join(_PARTS)}, not {parts!r}")
        if top is not None and top < 0:
            raise ValueError(f"top counts blocks from the end: 0 or more, or None for all, not {top}")
        self.top, self.parts = top, parts

    def apply(self, model: Model, data: Rows | None = None) -> None:
        model.freeze()
        for tower in model.towers.values():
            for name, parameter in self._reached(tower):
                if self.parts == "all" or _is_bias(name):
                    parameter.requires_grad_(True)

    def _reached(self, tower: Tower) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters of the top blocks and of what an architecture registers after its blocks."""
        named = list(tower.named_parameters())
        if self.top is not None:
            blocks = [f"{tower.layout.blocks}.{i}." for i in range(tower.depth)]
            last = max(i for i, (name, _) in enumerate(named) if name.startswith(tuple(blocks)))
            trained = tuple(blocks[max(tower.depth - self.top, 0) :])
            named = [item for i, item in enumerate(named) if i > last or (trained and item[0].startswith(trained))]
        yield from named
        if tower.project is not None:
            yield from tower.project.named_parameters()

    def prefix(self, model: Model) -> int:
        return 0 if self.top is None else model.blocks_below(self.top)

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        blind = [name for name, tower in model.towers.items() if tower.depth == 0]
        return f"the blocks of this {blind[0]} encoder are not known" if blind else None


def _is_bias(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last == "bias" or last.endswith("_bias")
