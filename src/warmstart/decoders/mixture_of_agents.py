"""Several models answer, and one writes the answer having read them all."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..engine.cast import Cast
from ..engine.prompts import Prompts, joined
from . import Decoder


class MixtureOfAgents(Decoder):
    """Layers of models, each of which reads the prompt and what all models of the layer before it answered.

    a_1j = A_j(x);  a_lj = A_j(i + a_(l-1)1 + ... + a_(l-1)J + x);  y = M(i + a_L1 + ... + a_LJ + x)

    + joins texts; M is the cast's model, the aggregator.
    agents: members of the cast that are A_1 ... A_J, such as `@tuned`; a name may stand there several times, which
        samples anew. layers: L. decoder: how each of them writes. instruction: i, what the aggregating models are told.
    prompts: texts alone.
    Raises ValueError without agents, below one layer, or for prompts that are no texts.
    Source: Wang et al. 2024 (arXiv 2406.04692), 3 layers of 6 models.
    """

    def __init__(
        self,
        agents: list[str],
        layers: int = 1,
        decoder: Decoder = "lm_sampling",
        instruction: str = "",
    ):
        if not agents or layers < 1:
            raise ValueError(f"agents are one or more in one or more layers, not {len(agents)} in {layers}")
        self.agents, self.layers, self.decoder, self.instruction = list(agents), layers, decoder, instruction

    def outputs(self, cast: Cast, prompts: Prompts, generator: torch.Generator) -> Sequence:
        if isinstance(prompts, dict):
            raise ValueError("mixture_of_agents reads what models answered as text: its prompts are texts")
        members = [cast[name.removeprefix("@")] for name in self.agents]
        asked: Prompts = prompts
        for _ in range(self.layers):
            answers = [self.decoder.outputs(Cast(member), asked, generator) for member in members]
            asked = [self._read(prompt, of_row) for prompt, *of_row in zip(prompts, *answers, strict=True)]
        return self.decoder.outputs(cast, asked, generator)

    def _read(self, prompt: str, answers: list[str]) -> str:
        text = ""
        for piece in (self.instruction, *answers, prompt):
            text = joined(text, piece) if piece else text
        return text
