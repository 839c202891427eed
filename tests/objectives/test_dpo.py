"""The loss of preferences equals trl's formula over transformers' own likelihoods."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch

from warmstart.data.dataset import DataError, Dataset
from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.loop import train
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.models.builders import build_model
from warmstart.objectives.dpo import Dpo
from warmstart.tuners.full import Full

TINY = {"transformer_lm": {"tokenizer": "words:a red blue circle square is left of the", "width": 16, "heads": 2}}
PROMPTS = ["a red circle is", "the", "of"]
CHOSEN = ["left of the square", "blue square", "a circle"]
REJECTED = ["blue", "red circle is left", "the"]


def pairs(**columns):
    columns = {"prompt": PROMPTS, "chosen": CHOSEN, "rejected": REJECTED} | columns
    return Dataset(pa.table(columns), dict.fromkeys(columns, "text"), name="pairs")


@pytest.fixture(scope="module")
def models():
    return build_model(TINY, seed=1), build_model(TINY, seed=2)


def losses(models, dataset, **arguments):
    policy, reference = models
    rows, objective = Rows(policy, dataset), Dpo(reference="start", **arguments)
    cast = Cast(policy, start=reference)
    objective.prepare(cast, rows)
    with torch.no_grad():
        return objective.loss(cast, rows.batch(np.arange(3)), Step())["dpo"]


@torch.no_grad()
def likelihood(model, prompt, answer) -> float:
    """Summed by transformers, the end token included."""
    ids = [model.tokens.bos, *model.tokens.encode([prompt])[0]], [*model.tokens.encode([answer])[0], model.tokens.eos]
    labels = torch.tensor([[-100] * len(ids[0]) + ids[1]])
    return -model.backbone(torch.tensor([ids[0] + ids[1]]), labels=labels).loss.item() * len(ids[1])


@pytest.mark.faithful("finetuning-guide")
@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_equals_trls_sigmoid_loss(models, beta):
    """trl: delta = (chosen - ref_chosen) - (rejected - ref_rejected); loss = -logsigmoid(beta * delta)."""
    policy, reference = models
    expected = []
    for row in zip(PROMPTS, CHOSEN, REJECTED, strict=True):
        gains = [likelihood(policy, row[0], text) - likelihood(reference, row[0], text) for text in row[1:]]
        expected.append(np.log1p(np.exp(-beta * (gains[0] - gains[1]))))
    assert losses(models, pairs(), beta=beta).tolist() == pytest.approx(expected, rel=1e-4)
    assert np.ptp(expected) > 1e-3


@pytest.mark.faithful("finetuning-guide")
def test_smoothing_weighs_the_swapped_pair(models):
    swapped = pairs(chosen=REJECTED, rejected=CHOSEN)
    expected = 0.8 * losses(models, pairs()) + 0.2 * losses(models, swapped)
    torch.testing.assert_close(losses(models, pairs(), label_smoothing=0.2), expected)


def test_a_prompt_that_both_texts_hold_cancels(models):
    whole = [[f"{p} {a}" for p, a in zip(PROMPTS, answers, strict=True)] for answers in (CHOSEN, REJECTED)]
    found = losses(models, pairs(chosen=whole[0], rejected=whole[1]), prompt=None)
    torch.testing.assert_close(found, losses(models, pairs()), rtol=1e-4, atol=1e-5)


def test_against_itself_the_loss_is_log_two_and_training_lowers_it(models):
    policy = copy.deepcopy(models[0])
    rows = Rows(policy, pairs())
    settings = Settings(steps=8, batch_size=3, learning_rate=1e-3, precision="no")
    trace = train(Learner(Cast(policy), [(Dpo(beta=1.0), 1.0)], Full(), rows, settings))
    assert trace.losses[0] == pytest.approx(np.log(2), rel=1e-4)
    assert trace.losses[-1] < 0.5 * trace.losses[0]


def test_refuses_what_it_cannot_read(models):
    rows = Rows(models[0], Dataset(pa.table({"text": ["a"]}), {"text": "text"}, name="texts"))
    with pytest.raises(DataError, match="no text column 'prompt'; it has: text"):
        Dpo().prepare(Cast(models[0]), rows)
    with pytest.raises(ValueError, match="beta is above 0"):
        Dpo(beta=0)
