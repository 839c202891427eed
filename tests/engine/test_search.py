import json

import pytest
import torch

from warmstart.engine.examples import Examples
from warmstart.engine.search import fit, fit_temperature, restore, search, stratified_folds, stratified_sample

CLASSES = Examples(names=("a", "b"))


class Fixed:
    """A predictor whose scores are the first feature times `quality`, for and against class 1."""

    seen = None

    def __init__(self, quality=0.0, sharpness=1.0):
        self.quality, self.sharpness = quality, sharpness

    @classmethod
    def configurations(cls, classes=None):
        return [{"quality": q, "sharpness": s} for q in (0.0, 1.0) for s in (1.0, 2.0)]

    @classmethod
    def cross_validate(cls, configurations, train, classes, folds):
        cls.seen = (train, folds)
        return torch.stack([cls(**c).scores(train) for c in configurations])

    def fit(self, train, classes, unlabeled=None):
        self.rows_ = torch.tensor(float(len(train)))
        return self

    def scores(self, queries):
        first = self.sharpness * queries.features[:, 0]
        sign = first if self.quality else -first
        return torch.stack([-sign, sign], dim=1)

    def state(self):
        return {"rows_": self.rows_}

    def restore(self, state):
        self.rows_ = state["rows_"]
        return self


def rows(count=40, noise=0.3):
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    return Examples((2.0 * labels - 1)[:, None] + noise * torch.randn(count, 1, generator=g), labels)


def test_keeps_the_configuration_with_the_best_out_of_fold_accuracy():
    choice = search(Fixed, rows(), CLASSES)
    assert choice.configuration["quality"] == 1.0
    assert [trial.accuracy > 0.9 for trial in choice.trials] == [False, False, True, True]


def test_first_of_equals_is_kept():
    # Sharpness is undone by the temperature, so accuracy and likelihood are equal.
    trials = search(Fixed, rows(), CLASSES).trials
    assert trials[2].accuracy == trials[3].accuracy
    assert trials[2].nll == pytest.approx(trials[3].nll, rel=1e-6)
    assert trials[2].temperature == pytest.approx(trials[3].temperature / 2, rel=1e-4)
    assert search(Fixed, rows(), CLASSES).configuration["sharpness"] == 1.0


@pytest.mark.parametrize(("labels", "folds"), [([0, 0, 0, 1], 5), ([0, 0, 1, 1], 1)])
def test_defaults_where_nothing_can_be_held_out(labels, folds):
    train = Examples(torch.randn(4, 1), torch.tensor(labels))
    choice = search(Fixed, train, CLASSES, folds=folds)
    assert choice.configuration == {"quality": 0.0, "sharpness": 1.0}
    assert choice.temperature == 1.0
    assert choice.trials == ()


def test_no_more_folds_than_rows_of_the_smallest_class():
    labels = torch.tensor([0] * 10 + [1] * 3)
    search(Fixed, Examples(torch.randn(13, 1), labels), CLASSES, folds=5)
    assert len(Fixed.seen[1].unique()) == 3


def test_limit_tries_the_first_configurations_only():
    assert len(search(Fixed, rows(), CLASSES, limit=3).trials) == 3


def test_large_training_sets_are_searched_on_a_sample_and_fitted_whole():
    train = rows(400)
    search(Fixed, train, CLASSES, rows=100)
    assert len(Fixed.seen[0]) == 100
    assert float(fit(Fixed, train, CLASSES).predictor.rows_) == 400


def test_folds_are_balanced_within_each_class_and_repeat_under_a_seed():
    labels = torch.randint(0, 7, (103,), generator=torch.Generator().manual_seed(0))
    folds = stratified_folds(labels, 4, torch.Generator().manual_seed(5))
    for rows_of in [torch.ones(103, dtype=torch.bool)] + [labels == c for c in range(7)]:
        sizes = torch.bincount(folds[rows_of], minlength=4)
        assert sizes.max() - sizes.min() <= 1
    assert torch.equal(folds, stratified_folds(labels, 4, torch.Generator().manual_seed(5)))
    assert not torch.equal(folds, stratified_folds(labels, 4, torch.Generator().manual_seed(6)))


def test_sample_keeps_proportions_and_rare_classes():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 3)
    chosen = stratified_sample(labels, 100, 2, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[chosen]).tolist() == [91, 9, 2]
    assert len(chosen.unique()) == len(chosen)


@pytest.mark.parametrize("true", [0.05, 1.0, 30.0])
def test_temperature_recovers_the_one_that_drew_the_labels(true):
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20000, 5, generator=g)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=g)[:, 0]
    temperature, nll = fit_temperature(true * logits, labels)
    assert temperature == pytest.approx(true, rel=0.05)
    assert nll == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=0.01)


def test_temperature_is_a_minimum_of_the_smoothed_likelihood():
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(50) % 3
    scores = 100 * (torch.randn(50, 3, generator=g) + torch.eye(3)[labels]).double()

    def loss(temperature):
        return torch.nn.functional.cross_entropy(scores / temperature, labels, label_smoothing=1 / 52)

    found, _ = fit_temperature(scores, labels)
    assert loss(found) <= min(loss(found * 1.05), loss(found / 1.05))


def test_temperature_stays_finite_where_all_rows_are_right():
    scores = torch.eye(3)[torch.arange(12) % 3]
    temperature, _ = fit_temperature(scores, torch.arange(12) % 3)
    assert 0.01 < temperature < 1.0
    assert (scores / temperature).softmax(dim=1).max() > 0.9


def test_configuration_that_gives_nan_is_not_chosen():
    class Broken(Fixed):
        def scores(self, queries):
            return super().scores(queries) * (torch.nan if self.quality else 1.0)

    assert search(Broken, rows(), CLASSES).configuration["quality"] == 0.0


def test_saved_and_restored_scores_are_equal():
    from warmstart.predictors.nearest_mean import NearestMean

    train = rows()
    fitted = fit(NearestMean, train, CLASSES, seed=1)
    again = restore(NearestMean, json.loads(json.dumps(fitted.description())), fitted.state())
    assert fitted.choice.trials
    assert torch.equal(again.scores(train), fitted.scores(train))
