"""Which of three is the odd one, by the similarity of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..data.dataset import DataError
from ..engine.cast import Cast
from ..engine.rows import Rows
from ..engine.step import Step
from ..engine.triplets import odd_logits
from . import Objective


class OddOneOut(Objective):
    """The pair of a triplet whose features are most alike leaves the third as the odd one, as the judgments say.

    p_o = softmax_o( S_ab / tau ),  {a, b} the two beside o in {1, 2, 3},  S = f_a . f_b or their cosine
    loss_i = KL(q_i || p_i) = sum_o q_io (log q_io - log p_io);  of a hard judgment the cross-entropy

    judgments: the role with q: (3,) probabilities that the first, second, third is the odd one, or its index 0 to 2;
        rows with an index below 0 count 0.
    teacher: a member of the cast, such as "@teacher", whose p in its own features are the judgments instead.
    roles: the three inputs; None for the first three of one modality. temperature: tau.
    Loss (B,) float32. Raises DataError where rows are no triplets or have no judgments.
    Source: Muttenthaler et al. 2024 (AligNet, arXiv 2409.06509).
    Differs from the paper: cosine as a default, so that tau means the same for every encoder.
    """

    def __init__(
        self,
        judgments: str = "judgment",
        teacher: str | None = None,
        temperature: float = 0.1,
        similarity: Literal["cosine", "dot"] = "cosine",
        roles: Sequence[str] | None = None,
    ):
        if similarity not in ("cosine", "dot"):
            raise ValueError(f"similarity is `cosine` or `dot`, not {similarity!r}")
        if temperature <= 0:
            raise ValueError(f"temperature is above 0, not {temperature}")
        self.judgments, self.teacher, self.temperature = judgments, teacher, temperature
        self.similarity, self.roles = similarity, roles

    def prepare(self, cast: Cast, data: Rows) -> None:
        kinds = data.dataset.roles
        roles = [role for role in data.keys if kinds[role] == data.modality][:3] if self.roles is None else self.roles
        if len(roles) != 3 or any(role not in data.keys for role in roles):
            raise DataError(
                f"{data.dataset.name}: odd_one_out needs three inputs a row (curator `mine_triplets` makes them); "
                f"it has: {', '.join(data.keys)}"
            )
        if self.teacher is None and self.judgments not in data.extra:
            raise DataError(f"{data.dataset.name}: no judgments {self.judgments!r}; it has: {', '.join(kinds)}")
        self._modality, self._keys = kinds[roles[0]], [data.keys[role] for role in roles]

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        logits = self._logits(cast, batch)
        with torch.autocast(logits.device.type, enabled=False):
            if self.teacher is not None:
                with torch.no_grad():
                    judged = self._logits(cast, batch, self.teacher).softmax(1)
            else:
                judged = probabilities(batch[self.judgments])
            divergence = torch.special.xlogy(judged, judged) - judged * logits.log_softmax(1)
        return {"odd_one_out": divergence.sum(1)}

    def _logits(self, cast: Cast, batch: dict, member: str = "model") -> Tensor:
        tower = cast[member].tower(self._modality)
        features = [tower.encode(batch[key]).pooled.float() for key in self._keys]
        return odd_logits(*features, self.similarity) / self.temperature


def probabilities(judged: Tensor) -> Tensor:
    """(B, 3) of probabilities as they are, or of indices (B,); zeros for an index below 0."""
    if judged.is_floating_point():
        return judged.float()
    known = judged >= 0
    return torch.nn.functional.one_hot(judged.long().clamp_min(0), 3).float() * known.unsqueeze(1)
