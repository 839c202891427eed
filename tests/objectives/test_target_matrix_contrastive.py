"""Contrast towards targets: Khosla's loss, the soft and squared forms, a member's similarities."""

import math

import pytest
import torch

from warmstart.engine.step import Step
from warmstart.objectives.info_nce import InfoNce
from warmstart.objectives.target_matrix_contrastive import TargetMatrixContrastive

STEP = Step(index=0, total=1, seed=0)
LABELS = torch.tensor([0, 1, 0, 2, 1])


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def loss(objective, sides, teacher=None, labels=LABELS):
    objective.pairing.embed = lambda cast, batch, step, member="model": sides if member == "model" else teacher
    return next(iter(objective.loss(None, {"label": labels}, STEP).values()))


def supervised_contrastive(z, labels, temperature):
    """Khosla et al. 2020, equation 2, entry by entry."""
    values = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        total = sum(math.exp(z[i] @ z[a] / temperature) for a in others)
        chances = [math.log(math.exp(z[i] @ z[p] / temperature) / total) for p in positives]
        values.append(-sum(chances) / len(positives) if positives else 0.0)
    return torch.tensor(values, dtype=torch.float64)


def test_classes_with_two_views_equal_supervised_contrastive_learning():
    a, b = unit(5, 8), unit(5, 8, seed=1)
    ours = loss(TargetMatrixContrastive(temperature=0.2, view=object()), [a, b])
    entries = supervised_contrastive(torch.cat([a, b]), torch.cat([LABELS, LABELS]), 0.2)
    torch.testing.assert_close(ours, (entries[:5] + entries[5:]) / 2)


def test_one_view_leaves_rows_without_a_positive_at_zero():
    z = unit(5, 8)
    ours = loss(TargetMatrixContrastive(temperature=0.2), [z])
    torch.testing.assert_close(ours, supervised_contrastive(z, LABELS, 0.2))
    assert ours[3] == 0


def test_roles_with_distinct_classes_equal_info_nce():
    a, b = unit(5, 8), unit(5, 8, seed=1)
    plain = InfoNce(temperature=0.3)
    plain.pairing.embed = lambda *_: [a, b]
    ours = loss(TargetMatrixContrastive(temperature=0.3, roles=("image", "text")), [a, b], labels=torch.arange(5))
    torch.testing.assert_close(ours, plain.loss(None, {}, STEP)["info_nce"])


def test_cosine_form_is_the_squared_distance_to_same_class():
    z = unit(5, 8)
    ours = loss(TargetMatrixContrastive(form="cosine"), [z])
    same = (LABELS[:, None] == LABELS).double()
    errors = (z @ z.T - same) ** 2
    torch.testing.assert_close(ours, (errors.sum(1) - errors.diagonal()) / 4)


def test_sigmoid_form_is_binary_cross_entropy():
    z = unit(5, 8)
    ours = loss(TargetMatrixContrastive(form="sigmoid", temperature=0.5), [z])
    same, chance = (LABELS[:, None] == LABELS).double(), torch.sigmoid(z @ z.T / 0.5)
    errors = -(same * chance.log() + (1 - same) * (1 - chance).log())
    torch.testing.assert_close(ours, (errors.sum(1) - errors.diagonal()) / 4)


def test_a_teachers_similarities_are_matched_at_its_own_embeddings():
    z = unit(5, 8).requires_grad_()
    objective = TargetMatrixContrastive(target="teacher", temperature=0.1, target_temperature=0.1)
    value = loss(objective, [z], teacher=[z.detach()]).sum()
    gradient = torch.autograd.grad(value, z)[0]
    assert gradient.abs().max() < 1e-12, "cross-entropy is smallest where the two distributions agree"
    assert loss(objective, [unit(5, 8, seed=3)], teacher=[z.detach()]).sum() > value


def test_classes_need_labels():
    from types import SimpleNamespace

    data = SimpleNamespace(labels=None, dataset=SimpleNamespace(name="mnist5k"))
    with pytest.raises(ValueError, match="mnist5k has none"):
        TargetMatrixContrastive().prepare(None, data)
