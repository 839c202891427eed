"""What every model reads, layer by layer."""

import pytest
import torch

from warmstart.decoders import Decoder
from warmstart.decoders.mixture_of_agents import MixtureOfAgents
from warmstart.engine.cast import Cast
from warmstart.ingredients import build
from warmstart.models.builders import build_model

TINY = {"transformer_lm": {"tokenizer": "words:a b c d", "width": 8, "heads": 2, "depth": 1}}


class Noting(Decoder):
    """Answers NAME(prompt), NAME the model's."""

    def outputs(self, cast, prompts, generator):
        return [f"{cast.model}({prompt})" for prompt in prompts]


def written(prompts, **arguments):
    return MixtureOfAgents(decoder=Noting(), **arguments).outputs(Cast("M", a="A", b="B"), prompts, torch.Generator())


@pytest.mark.faithful("finetuning-guide")
def test_the_aggregator_reads_all_answers_and_the_prompt():
    assert written(["x", "y"], agents=["@a", "@b"]) == ["M(A(x) B(x) x)", "M(A(y) B(y) y)"]
    assert written(["x"], agents=["a", "b"], instruction="merge:") == ["M(merge: A(x) B(x) x)"]


@pytest.mark.faithful("finetuning-guide")
def test_a_further_layer_reads_the_one_before_it():
    assert written(["x"], agents=["a", "b"], layers=2) == ["M(A(A(x) B(x) x) B(A(x) B(x) x) x)"]


def test_with_models_that_write():
    cast = Cast(build_model(TINY), first=build_model(TINY, seed=1), second=build_model(TINY, seed=2))
    decoder = {"lm_sampling": {"temperature": 0, "tokens": 3}}
    mixture = build("decoders", {"mixture_of_agents": {"agents": ["first", "second"], "decoder": decoder}})
    plain = build("decoders", decoder)
    found = mixture.outputs(cast, ["a b"], torch.Generator())
    answers = [plain.outputs(Cast(cast[name]), ["a b"], torch.Generator())[0] for name in ("first", "second")]
    asked = " ".join([*filter(None, answers), "a b"])
    assert found == plain.outputs(cast, [asked], torch.Generator())


def test_needs_agents_and_texts():
    with pytest.raises(ValueError, match="one or more"):
        MixtureOfAgents([])
    with pytest.raises(ValueError, match="prompts are texts"):
        MixtureOfAgents(["a"]).outputs(Cast("M", a="A"), {"rows": torch.arange(2)}, torch.Generator())
