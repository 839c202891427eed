import ast
from pathlib import Path

import pytest

import warmstart
from warmstart import ingredients
from warmstart.ingredients import CONTRACTS, IngredientError, build, find, kind_of, names, summary

ROOT = Path(warmstart.__file__).parent


@pytest.mark.parametrize("kind", CONTRACTS)
def test_the_folder_is_the_registry(kind):
    assert names(kind) == sorted(path.stem for path in (ROOT / kind).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_file_holds_its_ingredient(kind):
    import importlib

    contract = getattr(importlib.import_module(f"warmstart.{kind}"), CONTRACTS[kind])
    for name in names(kind):
        assert issubclass(find(kind, name), contract), name


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_ingredient_says_in_one_line_what_it_is(kind):
    for name in names(kind):
        line = summary(kind, name)
        assert line.endswith("."), f"{kind}/{name}: {line!r}"
        assert len(line) < 120


def test_no_name_stands_in_two_kinds_that_are_methods():
    assert not set(names("predictors")) & set(names("tuners"))


def test_a_name_is_found_in_its_kind():
    assert kind_of("gda") == "predictors"
    assert kind_of("lora") == "tuners"
    assert kind_of("lora", ("predictors",)) is None
    assert kind_of("nothing") is None


@pytest.mark.parametrize(
    ("kind", "spec", "line"),
    [
        ("predictors", "gdaa", "no predictor 'gdaa'; did you mean 'gda'?"),
        ("predictor", "gda", "no kind 'predictor'; did you mean 'predictors'?"),
        ("predictors", {"knn": {"neighbors": 3}}, "predictor knn has no parameter 'neighbors'"),
        ("predictors", {"gda": {}, "knn": {}}, "is written `name` or"),
        ("predictors", 3, "is written `name` or"),
        ("predictors", {"nearest_mean": {"normalize": "perhaps"}}, "predictor nearest_mean: normalize is 'perhaps'"),
    ],
)
def test_mistakes_are_one_line_with_the_nearest_name(kind, spec, line):
    from re import escape

    with pytest.raises(IngredientError, match=escape(line)) as caught:
        build(kind, spec) if kind in CONTRACTS else find(kind, spec)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_what_is_built():
    built = build("predictors", {"nearest_mean": {"normalize": False}})
    assert (built.normalize, built.center) == (False, False)
    assert built.describe() == {"nearest_mean": {"normalize": False}}
    assert build("predictors", built) is built
    assert build("predictors", "nearest_mean").describe() == {"nearest_mean": {}}
    assert build("predictors", {"nearest_mean": None}).normalize


def test_a_slot_is_built_from_what_is_written_there():
    probe = build("probes", {"linear_probe": {"predictor": {"nearest_mean": {"normalize": False}}}})
    assert probe.predictor.name == "nearest_mean"
    assert not probe.predictor.normalize


def test_a_mistake_inside_a_slot_is_said():
    with pytest.raises(IngredientError, match="did you mean 'nearest_mean'") as caught:
        build("probes", {"linear_probe": {"predictor": "nearest_men"}})
    assert caught.value.path == ("predictor",)


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """An installed package with a predictor behind an entry point."""
    (tmp_path / "always_first.py").write_text(
        "import torch\n"
        "from warmstart.predictors import Predictor\n"
        "class AlwaysFirst(Predictor):\n"
        '    """Answers the first class, whatever it is asked."""\n'
        "    def __init__(self, score: float = 1.0):\n"
        "        self.score = score\n"
        "    def fit(self, train, classes, unlabeled=None):\n"
        "        self.row_ = torch.zeros(len(classes)).index_fill(0, torch.tensor(0), self.score)\n"
        "        return self\n"
        "    def scores(self, queries):\n"
        "        return self.row_.expand(len(queries), -1)\n"
    )
    info = tmp_path / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[warmstart.predictors]\nalways_first = always_first:AlwaysFirst\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    ingredients._foreign.cache_clear()
    yield
    ingredients._foreign.cache_clear()


def test_an_installed_package_adds_an_ingredient(third_party):
    assert "always_first" in names("predictors")
    assert kind_of("always_first") == "predictors"
    assert summary("predictors", "always_first") == "Answers the first class, whatever it is asked."
    assert build("predictors", {"always_first": {"score": 3}}).score == 3.0
    with pytest.raises(IngredientError, match="did you mean 'always_first'"):
        find("predictors", "allways_first")


def test_an_entry_point_is_named_after_its_file(third_party, tmp_path):
    points = tmp_path / "toys-1.0.dist-info" / "entry_points.txt"
    points.write_text("[warmstart.predictors]\nfirst = always_first:AlwaysFirst\n")
    ingredients._foreign.cache_clear()
    with pytest.raises(IngredientError, match="'first' stands in the module always_first: name its entry point after"):
        find("predictors", "first")


def test_an_added_ingredient_is_compared_saved_and_loaded_like_ours(third_party, tmp_path, monkeypatch):
    from toys import save_tiny_bert, write_topics

    import warmstart as ws

    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))
    bert, topics = str(save_tiny_bert(tmp_path / "bert")), str(write_topics(tmp_path / "topics"))
    board = ws.compare(bert, topics, shots=(2,), methods="always_first", seeds=1, budget=1, out=tmp_path / "o")
    (row,) = [row for row in board.rows if row.method == "always_first"]
    assert (row.status, row.accuracy) == ("ok", pytest.approx(1 / 3))
    assert ws.load(tmp_path / "o" / "winner").predict(["the cat"])[0][0] == "animals"


def test_listing_does_not_import_what_it_lists():
    source = ast.parse((ROOT / "ingredients.py").read_text())
    top = {alias.name for node in source.body if isinstance(node, ast.Import) for alias in node.names}
    assert not top & {"torch", "numpy", "pyarrow"}
