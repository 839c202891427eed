"""What is said is true, can be read back, and stays within the vocabulary."""

import pytest

from warmstart.data.world import agreement, coverage, hallucinated, parse, vocabulary, world
from warmstart.data.world.lexicon import dictionary, english, tokens
from warmstart.data.world.roles import ROLES

TEXTS = [role for role, (kind, _) in ROLES.items() if kind == "text"]
GRAPH = {
    "objects": [
        {"shape": "circle", "colour": "red", "size": "small", "texture": "plain", "position": "top left"},
        {"shape": "square", "colour": "blue", "size": "big", "texture": "plain", "position": "top right"},
    ],
    "relations": [[0, "left of", 1]],
    "ground": "dark",
}


@pytest.fixture(scope="module")
def rows():
    roles = [*TEXTS, "graph", "feasible", "reward_chosen", "reward_rejected", "swapped"]
    return world(roles=roles, train=150, test=1, textures=3, objects=(1, 4), preference_noise=0.2).train


def test_every_word_is_in_the_vocabulary(rows):
    known = set(vocabulary())
    said = {word for role in TEXTS for text in rows.texts(role) for word in tokens(text)}
    assert said <= known
    assert len(vocabulary()) == len(known)


@pytest.mark.parametrize("language", ["de", "fr"])
def test_a_dictionary_is_one_to_one_and_complete(language):
    table = dictionary(language)
    assert set(table) == set(english())
    assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("role", ["text", "text_2", "report", "clean_text"])
def test_what_is_said_is_true_and_can_be_read_back(rows, role):
    graphs = rows.table["graph"].to_pylist()
    for text, graph in zip(rows.texts(role), graphs, strict=True):
        assert agreement(text, graph) == 1, (text, graph)
        assert hallucinated(text, graph) == 0
        assert not parse(text)["unknown"]


def test_reports_leave_nothing_out(rows):
    for text, graph in zip(rows.texts("report"), rows.table["graph"].to_pylist(), strict=True):
        assert coverage(text, graph) == 1


def test_equal_objects_are_counted():
    rows = world(roles=["text", "report", "graph"], train=50, test=1, arrangement="equal", objects=(2, 6)).train
    for text, graph in zip(rows.texts(), rows.table["graph"].to_pylist(), strict=True):
        assert agreement(text, graph) == coverage(text, graph) == 1


def test_parse_gives_attributes_by_their_own_names():
    found = parse("there is a tiny crimson disc to the left of a huge box")
    assert found["objects"] == [
        {"size": "small", "colour": "red", "shape": "circle"},
        {"size": "big", "shape": "square"},
    ]
    assert found["relations"] == [[0, "left of", 1]]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("a small red circle left of a blue square", 1),
        ("a blue square right of a red circle", 1),
        ("a green circle left of a blue square", 4 / 5),
        ("a red circle above a blue square", 4 / 5),
        ("a red circle", 1),
        # two claims for each circle and one for their number: one circle is there, the square is neither red nor round
        ("three red circles", 2 / 7),
        ("a red circle banana", 2 / 3),
        ("the ground is light", 0),
        ("", 0),
    ],
)
def test_agreement_is_the_share_of_true_claims(text, score):
    assert agreement(text, GRAPH) == pytest.approx(score)


def test_rates_of_objects():
    assert coverage("a red circle", GRAPH) == 0.5
    assert hallucinated("a red circle left of a green star", GRAPH) == 0.5


def test_the_chosen_text_is_better_unless_swapped(rows):
    chosen, rejected = (rows.table[f"reward_{name}"].to_numpy() for name in ("chosen", "rejected"))
    swapped = rows.table["swapped"].to_numpy(zero_copy_only=False)
    assert ((chosen > rejected) == ~swapped).all()
    assert 0.1 < swapped.mean() < 0.3


def test_answers_follow_from_the_graph(rows):
    import json

    for question, answer, text in zip(
        rows.texts("question"), rows.texts("answer"), rows.table["graph"].to_pylist(), strict=True
    ):
        objects = json.loads(text)["objects"]
        if question == "how many objects are there?":
            assert answer == ["zero", "one", "two", "three", "four"][len(objects)]
        if question.startswith("what colour"):
            shape = parse(question)["objects"][0]["shape"]
            assert [one["colour"] for one in objects if one["shape"] == shape] == [answer]
        if question.startswith("is there"):
            asked = parse(question)["objects"][0]
            there = any(all(one[key] == value for key, value in asked.items()) for one in objects)
            assert answer == ("yes" if there else "no")


def test_a_question_is_of_the_kind_that_is_noted():
    from warmstart.data.world.questions import KINDS

    opening = {"how many": "count", "is there": "exists", "what colour": "colour", "what shape": "shape"}
    rows = world(roles=["question", "question_kind"], train=200, test=1, shapes=2, colours=2).train
    noted = [KINDS[kind] for kind in rows.table["question_kind"].to_pylist()]
    asked = [next((opening[one] for one in opening if text.startswith(one)), None) for text in rows.texts("question")]
    assert all(kind == known for kind, known in zip(noted, asked, strict=True) if known is not None)
    assert noted.count("count") > 40


def test_a_call_has_one_right_result():
    import json

    found = set()
    rows = world(roles=["call", "result", "graph"], train=300, test=1, shapes=2, colours=3).train
    for call, result, text in zip(*(rows.table[role].to_pylist() for role in rows.roles), strict=True):
        tool, written = call.rstrip(" )").split(" ( ")
        asked = dict(one.split(" = ") for one in written.split(" , "))
        fits = [one for one in json.loads(text)["objects"] if all(one[key] == value for key, value in asked.items())]
        numbers = ["zero", "one", "two", "three", "four"]
        right = {"count": numbers[len(fits)], "exists": "yes" if fits else "no", "find": fits and fits[0]["position"]}
        assert result == right[tool]
        assert tool != "find" or len(fits) == 1
        found.add(tool)
    assert found == {"count", "exists", "find"}


def test_what_cannot_be_edited_is_not_there():
    import json

    rows = world(
        roles=["instruction", "feasible", "graph"], train=50, test=1, shapes=1, colours=1, label="ground"
    ).train
    for text, feasible, graph in zip(*(rows.table[role].to_pylist() for role in rows.roles), strict=True):
        said = parse(text)["objects"][0]
        there = [(one["colour"], one["shape"]) for one in json.loads(graph)["objects"]]
        assert ((said["colour"], said["shape"]) in there) == feasible


def test_the_gallery_shows_every_domain_and_text():
    from warmstart.data.world.gallery import page
    from warmstart.data.world.looks import DOMAINS

    written = page()
    assert all(f"<p>{name}</p>" in written for name in DOMAINS)
    assert all(f"<th>{role}</th>" in written for role in TEXTS)
    assert "http" not in written
