import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from warmstart.compare.floors import majority_probabilities, raw_features, raw_logistic_probabilities
from warmstart.compare.request import Request
from warmstart.compare.stage import Stage
from warmstart.data import Dataset, load_data
from warmstart.models import fingerprint


def texts(*rows):
    return Dataset(pa.table({"text": list(rows)}), {"text": "text"})


def test_majority_answers_the_most_frequent_class_with_its_frequency():
    found = majority_probabilities(np.array([2, 0, 2, 1]), 4, 3)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found[0], [0.25, 0.25, 0.5, 0.0])


def test_raw_text_features_know_the_words_of_training_only():
    train, test = raw_features(texts("cat dog", "dog"), [texts("cat bird", "bird")])
    assert train.shape[1] == test.shape[1] == 2
    assert test[1].nnz == 0


def test_raw_logistic_separates_words_and_never_answers_a_class_it_has_not_seen():
    train = texts("cat dog", "dog cat cat", "sun rain", "rain")
    (found,) = raw_logistic_probabilities(train, np.array([0, 0, 2, 2]), 3, [texts("cat", "rain sun", "nothing")])
    assert found.shape == (3, 3)
    assert found[:2].argmax(1).tolist() == [0, 2]
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found[:, 1] == 0).all()


def test_raw_pixels_are_small_and_centred_by_the_training_mean(shapes):
    splits = load_data(shapes)
    train, test = raw_features(splits.train, [splits.test])
    assert train.shape == (len(splits.train), 16 * 16 * 3)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    assert abs(test.mean()) < 0.1


def test_the_random_backbone_has_the_same_shape_and_other_weights(bert, topics):
    stage = Stage(bert, load_data(topics), Request((bert,), topics, {}, (1,), None, 1, 1.0, "accuracy"))
    ours, random = (model.state_dict() for model in (stage.model, stage.random_model))
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in random.items()}
    name = next(name for name in ours if name.endswith("query.weight"))
    assert not torch.equal(ours[name], random[name])


class Net(nn.Module):
    image_size = 16

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 4, 4)
        self.scale = nn.Parameter(torch.full((4,), 3.0))

    def forward(self, x):
        return self.convolution(x).mean((2, 3)) * self.scale


def test_a_module_of_the_user_gets_random_weights_in_a_copy(shapes):
    net = Net()
    before = fingerprint(net)
    stage = Stage(net, load_data(shapes), Request(("Net",), shapes, {}, (1,), None, 1, 1.0, "accuracy"))
    random = stage.random_model.backbone
    assert not torch.equal(random.convolution.weight, net.convolution.weight)
    assert not torch.equal(random.scale, net.scale)
    assert fingerprint(stage.model.backbone) == before == fingerprint(net)


@pytest.mark.parametrize("copies", [2])
def test_random_weights_are_the_same_every_time(bert, topics, copies):
    request = Request((bert,), topics, {}, (1,), None, 1, 1.0, "accuracy")
    prints = {fingerprint(Stage(bert, load_data(topics), request).random_model) for _ in range(copies)}
    assert len(prints) == 1
