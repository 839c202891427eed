"""How a model scores and writes tokens: one interface for causal, masked and encoder-decoder models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from .errors import ModelError
from .reading import reading
from .tower import DECODER, answering

if TYPE_CHECKING:
    from .model import Model


@dataclass
class Writing:
    """Rows that are being written.

    scores: (B, V) of the next token. mask: (B, T), 1 at the tokens read so far. lengths: (B,) how many those are.
    columns: name -> (B, ...), what else the batch says of the rows.
    """

    scores: Tensor
    mask: Tensor
    lengths: Tensor
    cache: object
    encoded: Tensor | None = None
    encoded_mask: Tensor | None = None
    columns: dict[str, Tensor] = field(default_factory=dict)

    def take(self, rows: Tensor) -> Writing:
        """These rows, in this order and as often as named: beams reordered, a prompt continued several times.

        The state that it is taken from must not be used afterwards.
        """
        self.cache.batch_select_indices(rows)

        def picked(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows]

        encoded = picked(self.encoded), picked(self.encoded_mask)
        columns = {name: picked(one) for name, one in self.columns.items()}
        return Writing(self.scores[rows], self.mask[rows], self.lengths[rows], self.cache, *encoded, columns)


class Language:
    """A model's scores of tokens, whichever its architecture; a view that owns nothing.

    kind: `causal` (a decoder alone), `masked` (a bidirectional encoder), `decoder` (an encoder of text, images or
        audio and a decoder that attends to it).
    Scores come from the head that the checkpoint has, or through its input embeddings where it says that these are
    tied. V is the head's number of tokens. All scores are logits.
    Raises ModelError where the model neither writes nor fills in text, or is asked for what its kind cannot do.
    """

    def __init__(self, model: Model):
        self.model, self.backbone, self.tokens = model, model.backbone, model.tokens
        if DECODER in model.towers:
            self.kind: Literal["causal", "masked", "decoder"] = "decoder"
            self.tower = model.towers[DECODER]
        elif "text" in model.towers:
            self.tower = model.towers["text"]
            self.kind = "causal" if is_causal(self.tower.module) else "masked"
        else:
            raise ModelError(f"{model.source} does not write text")

    def prepare(self, dataset, role: str = "text"):
        """The texts of a role as token ids (`TextInputs`), also where no tower reads text (a captioner's targets)."""
        return self.tower.prepare(dataset, role)

    @property
    def context(self) -> int | None:
        """How many tokens are read at once, None where the architecture has no limit."""
        return getattr(self.tower.module.config, "max_position_embeddings", None)

    def scores(self, states: Tensor) -> Tensor:
        """(B, T, V) from the last states (B, T, D) of `tower`, the one that the head reads."""
        if self._headless():
            return nn.functional.linear(states, self.tower.module.get_input_embeddings().weight)
        from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions

        ids = torch.zeros(states.shape[:2], dtype=torch.int64, device=states.device)
        inputs = {"input_ids": ids}
        if self.kind == "decoder":
            source = states.new_zeros(len(states), 1, self.model.tower().module.config.hidden_size)
            inputs = {"encoder_outputs": BaseModelOutput(last_hidden_state=source), "decoder_input_ids": ids}
        # What architectures do before their head (scaling, a transform) stands in their forward: it runs as it is,
        # on these states in place of those that it would compute.
        output = BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=states)
        with answering(self.tower.module, output):
            return self.backbone(**inputs).logits

    def next_token_scores(self, input_ids: Tensor, attention_mask: Tensor | None = None, **fields) -> Tensor:
        """(B, T, V): entry t scores what follows tokens 0..t.

        attention_mask: (B, T), 1 at real tokens, or (B, 1, T, T) bool, True where the row may attend to the column.
        fields: anything else that the architecture reads (position_ids, a cached state).
        """
        self._needs("causal", "next_token_scores")
        return self.scores(self.tower.encode(_inputs(input_ids, attention_mask, fields)).tokens)

    def masked_scores(self, input_ids: Tensor, attention_mask: Tensor | None = None, **fields) -> Tensor:
        """(B, T, V): entry t scores what stands at t, given the tokens on both sides."""
        self._needs("masked", "masked_scores")
        return self.scores(self.tower.encode(_inputs(input_ids, attention_mask, fields)).tokens)

    def target_scores(
        self, batch: dict, target_ids: Tensor, modality: str | None = None, both_ways: bool = False
    ) -> Tensor:
        """(B, T, V): entry t scores target token t, given the source and the targets before it (teacher forcing).

        batch: as `Rows.batch` makes it. target_ids: (B, T), padded on the right with anything. modality: the key of
        the source in the batch. both_ways: a causal model reads the source in both directions (prefix LM).
        An encoder-decoder encodes the source. A causal model reads it as a prompt, without a closing end token, and
        goes on.
        """
        if self.kind == "decoder":
            ids = self._shifted(target_ids)
            with reading(batch):
                encoded, mask = self._encoded(batch, modality)
                return self._run_decoder(encoded, mask, ids, torch.ones_like(ids), use_cache=False).logits
        return self.scores(self.target_states(batch, target_ids, modality, both_ways))

    def target_states(
        self, batch: dict, target_ids: Tensor, modality: str | None = None, both_ways: bool = False
    ) -> Tensor:
        """(B, T, D): a causal model's last states, of which entry t scores target token t. See `target_scores`."""
        self._needs("causal", "target_scores")
        prompt, mask = self._prompt(batch[modality or "text"])
        with reading(batch):
            return self._continued(prompt, mask, target_ids, both_ways)

    def start(self, batch: dict, modality: str | None = None) -> Writing:
        """Read the source of every row; `.scores` (B, V) of what comes first. See `target_scores` for the source."""
        with reading(batch):
            state = self._start(batch, modality)
        state.columns = {name: one for name, one in batch.items() if torch.is_tensor(one) and one.ndim}
        return state

    def _start(self, batch: dict, modality: str | None) -> Writing:
        if self.kind == "decoder":
            encoded, mask = self._encoded(batch, modality)
            first = torch.full((len(encoded), 1), self._first_token, device=encoded.device)
            ones = torch.ones_like(first)
            output = self._run_decoder(encoded, mask, first, ones, use_cache=True)
            return Writing(output.logits[:, -1], ones, ones[:, 0], output.past_key_values, encoded, mask)
        self._needs("causal", "start")
        prompt, mask = self._prompt(batch[modality or "text"])
        positions = torch.arange(prompt.shape[1], device=prompt.device).expand_as(prompt)
        output = self.tower.module(
            input_ids=prompt, attention_mask=mask, position_ids=positions, use_cache=True, past_key_values=None
        )
        lengths = mask.sum(1)
        last = output.last_hidden_state[torch.arange(len(prompt), device=prompt.device), lengths - 1]
        return Writing(self.scores(last.unsqueeze(1))[:, 0], mask, lengths, output.past_key_values)

    def advance(self, state: Writing, ids: Tensor) -> Tensor:
        """Append a token (B,) to every row; (B, V) scores of what comes next, also in `state.scores`."""
        with reading(state.columns):
            return self._advance(state, ids)

    def _advance(self, state: Writing, ids: Tensor) -> Tensor:
        ids = ids.view(-1, 1)
        state.mask = torch.cat([state.mask, torch.ones_like(ids)], dim=1)
        if self.kind == "decoder":
            output = self._run_decoder(
                state.encoded, state.encoded_mask, ids, state.mask, use_cache=True, past_key_values=state.cache
            )
            state.scores = output.logits[:, -1]
        else:
            output = self.tower.module(
                input_ids=ids,
                attention_mask=state.mask,
                position_ids=state.lengths.unsqueeze(1),
                past_key_values=state.cache,
                use_cache=True,
            )
            state.scores = self.scores(output.last_hidden_state)[:, 0]
        state.cache, state.lengths = output.past_key_values, state.lengths + 1
        return state.scores

    def _headless(self) -> bool:
        if self.backbone.get_output_embeddings() is not None:
            return False
        if not getattr(self.backbone.config, "tie_word_embeddings", False):
            raise ModelError(f"{self.model.source} has no language head, and does not tie it to its embeddings")
        return True

    def _needs(self, kind: str, what: str) -> None:
        if self.kind != kind:
            raise ModelError(f"{self.model.source} is a {self.kind} language model, which has no {what}")

    def _prompt(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Ids and mask (B, T) without the end token that closes a text; a begin token where nothing is left."""
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        mask = torch.ones_like(ids) if mask is None else mask
        lengths = mask.sum(1)
        last = ids.gather(1, (lengths - 1).clamp_min(0).unsqueeze(1))[:, 0]
        if self.tokens.eos is not None:
            lengths = lengths - ((last == self.tokens.eos) & (lengths > 0)).long()
        first = self.tokens.bos if self.tokens.bos is not None else self.tokens.eos
        if (lengths == 0).any():
            if first is None:
                raise ModelError(f"{self.model.source} has no begin token to write an empty prompt's continuation from")
            ids = torch.where((lengths == 0).unsqueeze(1), torch.full_like(ids, first), ids)
            lengths = lengths.clamp_min(1)
        width = max(int(lengths.max()), 1)
        positions = torch.arange(width, device=ids.device)
        return ids[:, :width], (positions < lengths.unsqueeze(1)).long()

    def _continued(self, prompt: Tensor, mask: Tensor, target: Tensor, both_ways: bool) -> Tensor:
        """Every row's prompt followed at once by its target, and the states that score the target's places."""
        lengths, longest = mask.sum(1, keepdim=True), self.context
        if longest is not None and int(lengths.max()) + target.shape[1] > longest:
            raise ModelError(
                f"{self.model.source} reads {longest} tokens, not a prompt of {int(lengths.max())} "
                f"and {target.shape[1]} more: shorten one of them"
            )
        width, steps = prompt.shape[1], target.shape[1]
        ids = torch.cat([prompt, target], dim=1)
        places = torch.arange(width + steps, device=ids.device).expand(len(ids), -1)
        # Token p of a row is prompt token p, or target token p - length: what was padding between goes to the end.
        source = torch.where(places < lengths, places, (places - lengths + width).clamp_max(width + steps - 1))
        ids = ids.gather(1, source)
        real = places < lengths + steps
        if both_ways:
            seen = (places.unsqueeze(1) <= places.unsqueeze(2)) | (places < lengths).unsqueeze(1)
            # Padding sees itself, since a row of nothing has no softmax.
            own = torch.eye(width + steps, dtype=torch.bool, device=ids.device)
            attention = ((seen & real.unsqueeze(1)) | own).unsqueeze(1)
        else:
            attention = real.long()
        states = self.tower.encode({"input_ids": ids, "attention_mask": attention}).tokens
        wanted = lengths - 1 + torch.arange(steps, device=ids.device)
        return states.gather(1, wanted.unsqueeze(-1).expand(-1, -1, states.shape[-1]))

    @property
    def _first_token(self) -> int:
        stated = [getattr(self.backbone.config, "decoder_start_token_id", None), self.tokens.bos, self.tokens.pad]
        return next(token for token in stated if token is not None)

    def _shifted(self, target: Tensor) -> Tensor:
        first = torch.full_like(target[:, :1], self._first_token)
        return torch.cat([first, target[:, :-1].clamp_min(0)], dim=1)

    def _encoded(self, batch: dict, modality: str | None) -> tuple[Tensor, Tensor | None]:
        reader = self.model.tower()
        encoding = reader.encode(batch[modality or reader.modality])
        return encoding.tokens, None if encoding.mask is None else encoding.mask.long()

    def _run_decoder(self, encoded: Tensor, encoded_mask: Tensor | None, ids: Tensor, mask: Tensor, **fields):
        from transformers.modeling_outputs import BaseModelOutput

        return self.backbone(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=encoded_mask,
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            **fields,
        )


def is_causal(module: nn.Module) -> bool:
    """Whether every token of this encoder sees those before it alone, as far as its class says."""
    return any(getattr(layer, "is_causal", False) for layer in module.modules())


def _inputs(ids: Tensor, mask: Tensor | None, fields: dict) -> dict[str, Tensor]:
    return {"input_ids": ids, **({} if mask is None else {"attention_mask": mask}), **fields}
