from tiny_models import tiny, tiny_rows  # noqa: F401

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.predictors.nearest_mean import NearestMean
from warmstart.probes.linear_probe import LinearProbe
from warmstart.probes.other_data import OtherData


def measured(model, **arguments) -> dict:
    rows = tiny_rows("image")
    probe = OtherData(LinearProbe(predictor=NearestMean()), **arguments)
    return probe.measure(Cast(model, start=model), Splits(train=rows, test=rows))


def test_judges_on_the_data_that_is_named(tiny):  # noqa: F811
    found = measured(tiny("vit"), data="digits", train=50, test=40)
    assert found["train_rows"] == 50
    assert found == measured(tiny("vit"), data="digits", train=50, test=40)


def test_more_rows_than_there_are_means_all(tiny):  # noqa: F811
    world = {"world": {"roles": ["image", "label"], "label": "colour", "train": 30, "test": 10}}
    assert measured(tiny("vit"), data=world, train=500)["train_rows"] == 30


def test_members_are_those_of_the_probe():
    from warmstart.probes.forgetting import Forgetting

    assert OtherData(Forgetting(before="tune"), data="digits").members() == ("tune",)
