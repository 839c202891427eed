"""What holds for every predictor."""

import importlib
import inspect

import pytest
import torch
from safetensors.torch import load, save

from warmstart.engine.examples import Examples

NAMES = ("feature_cache", "gda", "knn", "logistic", "nearest_mean", "ridge", "zero_shot")


def predictor(name):
    module = importlib.import_module(f"warmstart.predictors.{name}")
    return getattr(module, "".join(part.title() for part in name.split("_")))


def clusters(rows=6, classes=4, size=8, seed=0):
    """Rows around class centres, and classes whose texts lie near these centres."""
    g = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(classes, size, generator=g)
    labels = torch.arange(classes).repeat(rows)
    features = centres[labels] + torch.randn(len(labels), size, generator=g)
    texts = centres + torch.randn(classes, size, generator=g)
    names = tuple(f"class {c}" for c in range(classes))
    return Examples(features, labels), Examples(texts, names=names)


@pytest.mark.parametrize("name", NAMES)
def test_first_configuration_is_the_constructors_defaults(name):
    cls = predictor(name)
    first = cls.configurations()[0]
    parameters = inspect.signature(cls).parameters
    assert first == {key: parameters[key].default for key in first}


@pytest.mark.parametrize("name", NAMES)
def test_recognises_separable_clusters_and_gives_probabilities_that_agree(name):
    (train, classes), (test, _) = clusters(seed=0), clusters(rows=20, seed=0)
    scores = predictor(name)().fit(train, classes).scores(test)
    assert scores.shape == (80, 4)
    assert (scores.argmax(dim=1) == test.labels).float().mean() > 0.9
    assert scores.softmax(dim=1).gather(1, test.labels[:, None]).mean() > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_one_row_a_class_is_enough(name):
    train, classes = clusters(rows=1)
    scores = predictor(name)().fit(train, classes).scores(train)
    assert scores.isfinite().all()
    if name != "zero_shot":
        assert (scores.argmax(dim=1) == train.labels).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "zero_shot"])
def test_class_without_rows_is_not_predicted(name):
    train, classes = clusters()
    train = train.take(train.labels != 2)
    classes = Examples(names=classes.names)
    scores = predictor(name)().fit(train, classes).scores(train)
    assert not scores.isnan().any()
    assert (scores.argmax(dim=1) == train.labels).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("with_texts", [True, False])
def test_saved_state_gives_equal_scores(name, with_texts):
    train, classes = clusters()
    cls = predictor(name)
    classes = classes if with_texts else Examples(names=classes.names)
    if cls.unfit(train, classes):
        pytest.skip("needs class texts")
    fitted = cls().fit(train, classes)
    again = cls().restore(load(save(fitted.state())))
    assert torch.equal(again.scores(train), fitted.scores(train))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ridge", "logistic")])
@pytest.mark.parametrize("with_texts", [True, False])
def test_shared_cross_validation_equals_one_fit_per_fold_and_configuration(name, with_texts):
    from warmstart.predictors import Predictor

    train, classes = clusters()
    cls = predictor(name)
    classes = classes if with_texts else Examples(names=classes.names)
    if cls.unfit(train, classes):
        pytest.skip("needs class texts")
    folds = torch.arange(len(train)) // 4 % 3
    configurations = cls.configurations(classes)
    found = cls.cross_validate(configurations, train, classes, folds)
    wanted = Predictor.cross_validate.__func__(cls, configurations, train, classes, folds)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gda", "feature_cache"])
def test_zero_shot_weight_is_searched_only_where_there_are_class_texts(name):
    _, classes = clusters()
    cls = predictor(name)
    assert len({c["alpha"] for c in cls.configurations(classes)}) > 1
    assert len({c["alpha"] for c in cls.configurations(Examples(names=classes.names))}) == 1
