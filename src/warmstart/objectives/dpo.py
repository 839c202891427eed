"""Of two answers the preferred one becomes more likely than the other, measured against a reference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.dataset import DataError
from ..engine.cast import Cast
from ..engine.likelihood import token_log_probabilities
from ..engine.rows import Rows
from ..engine.step import Step
from ..models import Model, ModelError
from . import Objective

_REFERENCE = "dpo_reference"


class Dpo(Objective):
    """Direct preference optimization: logistic loss of the preferred text's gain over the other one's.

    r(y) = log p(y | x) - log p_ref(y | x);  m_i = beta (r(chosen_i) - r(rejected_i))
    loss_i = -(1 - s) log sigmoid(m_i) - s log sigmoid(-m_i)

    log p sums over an answer's tokens, its end token included.
    beta: how closely the reference is kept to. label_smoothing: s in [0, 0.5), the share of preferences that are wrong.
    reference: member of the cast that is p_ref, such as `@start`; None for the model as it is when training starts.
    prompt: role of x; None for texts that hold their prompt, which then cancels. chosen, rejected: roles of answers.
    Loss (B,) float32. Raises ModelError for a model that does not write, DataError where the data lacks a role.
    Source: Rafailov et al. 2023 (arXiv 2305.18290), beta 0.1 to 0.5; smoothing by Mitchell 2023 (conservative DPO).
    `trl` has it as `DPOTrainer`, loss type `sigmoid`.
    """

    def __init__(
        self,
        beta: float = 0.1,
        label_smoothing: float = 0.0,
        reference: str | None = None,
        prompt: str | None = "prompt",
        chosen: str = "chosen",
        rejected: str = "rejected",
    ):
        if beta <= 0:
            raise ValueError(f"beta is above 0, not {beta}")
        if not 0 <= label_smoothing < 0.5:
            raise ValueError(f"label_smoothing lies in [0, 0.5), not {label_smoothing}")
        self.beta, self.label_smoothing, self.reference = beta, label_smoothing, reference
        self.prompt, self.chosen, self.rejected = prompt, chosen, rejected
        self._keys: dict[str, str] = {}

    def prepare(self, cast: Cast, data: Rows) -> None:
        if cast.model.language.kind == "masked":
            raise ModelError(f"{cast.model.source} fills in masked tokens: dpo needs a model that writes")
        roles = data.dataset.roles
        for role in (self.prompt, self.chosen, self.rejected):
            if role is None:
                continue
            if roles.get(role) != "text":
                raise DataError(f"{data.dataset.name}: no text column {role!r}; it has: {', '.join(roles)}")
            if role not in data.keys:
                data.add(f"{role} as target", cast.model.language.prepare(data.dataset, role))
            self._keys[role] = data.keys.get(role, f"{role} as target")
        if self.reference is None:
            cast.freeze(_REFERENCE)

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        gains = []
        for role in (self.chosen, self.rejected):
            with torch.no_grad():
                before = self._log_likelihood(cast[self.reference or _REFERENCE], batch, role)
            gains.append(self._log_likelihood(cast.model, batch, role) - before)
        margin = self.beta * (gains[0] - gains[1])
        kept, swapped = nn.functional.logsigmoid(margin), nn.functional.logsigmoid(-margin)
        return {"dpo": -(1 - self.label_smoothing) * kept - self.label_smoothing * swapped}

    def _log_likelihood(self, model: Model, batch: dict, role: str) -> Tensor:
        """(B,) float32: log p of the answers."""
        language, inputs = model.language, batch[self._keys[role]]
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        if self.prompt is None and language.kind == "causal":
            scores = language.next_token_scores(ids, mask)[:, :-1].float()
            ids, mask = ids[:, 1:], mask[:, 1:]
            chances = scores.log_softmax(-1).gather(-1, ids.unsqueeze(-1))[..., 0]
        else:
            if language.tokens.bos is not None and bool((ids[:, 0] == language.tokens.bos).all()):
                ids, mask = ids[:, 1:], mask[:, 1:]
            chances = token_log_probabilities(model, batch, ids, self._keys.get(self.prompt))
        # Not a product: what stands at padding may be infinite.
        return torch.where(mask.bool(), chances, 0.0).sum(1)
