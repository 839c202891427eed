import os

import pytest
from toys import save_tiny_bert, save_tiny_vit, write_shapes, write_topics

import warmstart as ws


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    before = os.environ.get("WARMSTART_CACHE")
    os.environ["WARMSTART_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("WARMSTART_CACHE")
    if before is not None:
        os.environ["WARMSTART_CACHE"] = before


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return str(save_tiny_bert(tmp_path_factory.mktemp("models") / "bert"))


@pytest.fixture(scope="session")
def vit(tmp_path_factory):
    return str(save_tiny_vit(tmp_path_factory.mktemp("models") / "vit"))


@pytest.fixture(scope="session")
def topics(tmp_path_factory):
    return str(write_topics(tmp_path_factory.mktemp("data") / "topics"))


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    return str(write_shapes(tmp_path_factory.mktemp("data") / "shapes"))


@pytest.fixture(scope="session")
def compare(bert, topics):
    """compare(**changes) -> the board of a small comparison, quick methods and few trials by default."""

    def run(model=None, data=None, **changes):
        arguments = {"shots": (2,), "methods": "nearest_mean", "seeds": 1, "budget": 0.2}
        return ws.compare(bert if model is None else model, topics if data is None else data, **arguments | changes)

    return run


@pytest.fixture(scope="session")
def finished(compare, tmp_path_factory):
    """The folder of a finished comparison: two predictors, 1 and 4 shots, two seeds. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    compare(shots=(1, 4), methods="nearest_mean,gda", seeds=2, out=folder)
    return folder
