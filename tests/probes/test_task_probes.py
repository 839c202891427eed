"""Few-shot accuracy on tasks that were held out, and the cosine of tasks' gradients."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch

from warmstart.data.dataset import DataError, Dataset, Splits
from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.models.vit import vit
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.probes.heldout_split import HeldoutSplit
from warmstart.probes.task_gradient_alignment import TaskGradientAlignment
from warmstart.tuners.full import Full
from warmstart.tuners.linear_head import LinearHead


def halves(count: int, seed: int, tasks=(0, 1)) -> Dataset:
    """The left or the right half is bright; task 1 calls them the other way round."""
    rng = np.random.default_rng(seed)
    side, task = np.arange(count) % 2, np.asarray(tasks)[np.arange(count) // 2 % len(tasks)]
    pixels = rng.integers(0, 60, (count, 8, 8, 3), dtype=np.uint8)
    for row, one in enumerate(side):
        pixels[row, :, 4 * one : 4 * one + 4] += 160
    table = pa.table(
        {
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
            "label": pa.array(np.where(task == 1, 1 - side, side), pa.int64()),
            "task": pa.array(task, pa.int64()),
        }
    )
    return Dataset(table, {"image": "image", "label": "label", "task": "number"}, ("a", "b"), "halves")


@pytest.fixture
def cast():
    torch.manual_seed(0)
    model = vit(width=16, depth=1, heads=2, patch=4, image_size=8)
    model.attach("head", "linear", width=16, outputs=2, zero=False)
    return Cast(model)


SPLITS = Splits(halves(40, 0), halves(24, 1))


@pytest.mark.faithful("mhr")
def test_gradients_of_tasks_that_contradict_each_other_point_apart(cast):
    cast.model.requires_grad_(True)
    found = TaskGradientAlignment(CrossEntropy(), batch_size=20).measure(cast, SPLITS)
    assert found["cosine"] < -0.5
    assert found["conflicting"] == 1.0
    alike = Splits(halves(40, 0, tasks=(0, 2)), halves(4, 1))
    assert TaskGradientAlignment(CrossEntropy(), batch_size=20).measure(cast, alike)["cosine"] > 0.5


@pytest.mark.faithful("mhr")
def test_cosine_is_that_of_the_mean_losses_gradients(cast):
    data = Rows(cast.model, SPLITS.train)
    gradients = []
    for task in (0, 1):
        batch = data.batch(np.flatnonzero(SPLITS.train.table["task"].to_numpy() == task))
        loss = CrossEntropy().loss(cast, batch, Step())["cross_entropy"].mean()
        weights = [weight for name, weight in cast.model.trainable() if name.startswith("backbone.")]
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        gradients.append(torch.cat([g.flatten() for g in found if g is not None]))
    expected = torch.nn.functional.cosine_similarity(*gradients, dim=0).item()
    measured = TaskGradientAlignment(CrossEntropy(), batch_size=100).measure(cast, SPLITS)
    # In half precision, as a training computes it here.
    assert measured["cosine"] == pytest.approx(expected, abs=0.03)


def test_alignment_wants_tasks_and_weights_that_train(cast):
    with pytest.raises(DataError, match="no column 'kind'"):
        TaskGradientAlignment(CrossEntropy(), role="kind").measure(cast, SPLITS)
    with pytest.raises(DataError, match="one task alone"):
        TaskGradientAlignment(CrossEntropy()).measure(cast, Splits(halves(8, 0, tasks=(0,)), halves(4, 1)))
    cast.model.freeze()
    with pytest.raises(ValueError, match="share no weights"):
        TaskGradientAlignment(CrossEntropy()).measure(cast, SPLITS)


def test_every_held_out_task_is_learned_by_itself_and_the_model_stays(cast):
    before = copy.deepcopy(cast.model.state_dict())
    probe = HeldoutSplit(CrossEntropy(), Full(), [0, 1], shots=5, steps=30, learning_rate=3e-3)
    found = probe.measure(cast, SPLITS)
    assert found["worst"] > 0.9
    assert len(found["examples"]["accuracy"]) == 24
    assert found["accuracy"] == pytest.approx(np.mean(found["examples"]["accuracy"]))
    assert all(torch.equal(value, before[name]) for name, value in cast.model.state_dict().items())


def test_without_steps_the_model_answers_as_it_is(cast):
    with torch.no_grad():
        cast.model.attached["head"].weight.zero_()
        cast.model.attached["head"].bias.copy_(torch.tensor([1.0, 0.0]))
    found = HeldoutSplit(CrossEntropy(), LinearHead(), [0, 1], steps=0).measure(cast, SPLITS)
    assert found["accuracy"] == 0.5


def test_a_task_that_is_not_there_is_named(cast):
    with pytest.raises(DataError, match="no row has 7 as its task"):
        HeldoutSplit(CrossEntropy(), LinearHead(), [7]).measure(cast, SPLITS)
