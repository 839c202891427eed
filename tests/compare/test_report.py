import io
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from warmstart.compare.board import Board, Row
from warmstart.compare.notable import Votes, notable_rows
from warmstart.compare.predictions import Cell, Predictions
from warmstart.compare.report import render, write
from warmstart.data.dataset import Dataset

HOSTILE = (
    "<script>document.title='pwned'</script>",
    "</script></style></title><h1>pwned</h1>",
    '" onload="document.title=\'pwned\'" x="',
    "'><img src=x onerror=\"document.title='pwned'\">",
)
VOID = {"meta", "br", "wbr", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Fails on unbalanced tags; collects tag names, attributes and visible text."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> does not match at {self.getpos()}"

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def trials(methods=("ridge", "lora"), floors=("majority",), shots=(1, "all"), seeds=3, classes=3, rows=60):
    """A board and its predictions: each method somewhat better than the one before, all better with more labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    board, parts = Board(run={"command": "warmstart compare minilm banking77", "model": "minilm"}), []
    for number, method in enumerate((*floors, *methods)):
        for k in shots:
            for seed in range(seeds):
                keep = rng.random(rows) < 0.4 + 0.4 * (number + (k == "all")) / (len(methods) + len(floors))
                answer = np.where(keep, labels, rng.integers(0, classes, rows))
                part = Predictions.of(method, "minilm", k, seed, "test", labels, answer, rng.random(rows))
                parts.append(part)
                scores = {"accuracy": float((answer == labels).mean()), "ece": 0.1, "macro_f1": 0.5}
                costs = {"seconds": 0.1 * 7.0**number, "trainable_parameters": 400 * number}
                row = Row(method=method, model="minilm", shots=k, seed=seed, floor=method in floors, **scores)
                board.add(row.model_copy(update=costs))
    predictions = Predictions.join(parts)
    board.summarize(predictions, resamples=50)
    board.partial = False
    return board, predictions


def texts(predictions, classes, words=None):
    first = predictions.cell("all" if "all" in predictions.table["shots"].to_pylist() else 1)
    words = words or [f"example {row}" for row in first.rows]
    table = pa.table({"text": words, "label": first.labels})
    return Dataset(table, {"text": "text", "label": "label"}, tuple(classes), "banking77")


def page_of(board, predictions, classes=("a", "b", "c"), **arguments):
    html = render(board.model_dump(mode="json"), predictions.table, classes=classes, **arguments)
    return Page(html), html


@pytest.fixture(scope="module")
def small():
    return trials()


def test_page_is_balanced_and_begins_with_the_verdict(small):
    board, predictions = small
    features = np.random.default_rng(0).normal(size=(60, 8))
    test = texts(predictions, "abc")
    page, html = page_of(board, predictions, test=test, embeddings=features)
    assert html.startswith("<!doctype html>")
    assert board.verdict in page.text
    assert page.text.index(board.verdict) < page.text.index("Means over seeds")
    for section in ("leaderboard", "cost", "labels", "calibration", "confusion", "map", "examples", "run"):
        assert f'<h2 id="{section}">' in html, section
    assert "example " in page.text


def test_page_has_no_script_and_loads_nothing(small):
    board, predictions = small
    page, html = page_of(board, predictions, test=texts(predictions, "abc"), embeddings=np.eye(60))
    assert "script" not in page.tags
    assert "default-src 'none'" in html
    loads = [v for _, name, v in page.attributes if name in ("src", "href", "xlink:href", "srcset", "data")]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in loads)
    assert not re.search(r"url\(|@import", html)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_strings_are_shown_not_run(hostile):
    board, predictions = trials(methods=(hostile, "lora"))
    test = texts(predictions, "abc", [hostile] * 60)
    board.rows.append(Row(method="knn", model=hostile, shots=1, seed=0, status="failed", reason=hostile))
    board = board.model_copy(
        update={
            "verdict": hostile,
            "warnings": [hostile],
            "skipped": Board.model_validate({"skipped": [{"method": hostile, "reason": hostile}]}).skipped,
            "run": {"command": hostile, hostile: {hostile: [hostile]}, "model": hostile, "data": hostile},
        }
    )
    board.rows[0].stopped, board.rows[0].config = hostile, {hostile: hostile}
    classes = [hostile, hostile + "b", hostile + "c"]
    page, html = page_of(board, predictions, classes, test=test, embeddings=np.eye(60))
    assert "script" not in page.tags
    assert page.tags.count("h1") == 1
    assert "img" not in page.tags
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert hostile not in html or "<" not in hostile  # bare quotes are harmless in text
    assert " ".join(hostile.split()) in page.text


def test_failed_and_skipped_methods_are_named_with_the_reason(small):
    board, predictions = small
    failed = Row(method="full", model="minilm", shots=1, seed=2, status="failed", reason="loss became NaN")
    skipped = Board.model_validate({"skipped": [{"method": "zero_shot", "reason": "numeric labels"}]}).skipped
    changed = board.model_copy(update={"rows": [*board.rows, failed], "skipped": skipped})
    page, _ = page_of(changed, predictions)
    assert "full 1 2 loss became NaN" in page.text
    assert "zero_shot numeric labels" in page.text


def test_partial_board_carries_a_banner(small):
    board, predictions = small
    assert "Partial board" not in page_of(board, predictions)[0].text
    page, _ = page_of(board.model_copy(update={"partial": True}), predictions)
    assert "Partial board" in page.text


def test_board_without_finished_trials_still_renders():
    failed = Row(method="lora", model="minilm", shots=1, seed=0, status="failed", reason="out of memory")
    page, _ = page_of(Board(rows=[failed]), Predictions.empty())
    assert "nothing to rank" in page.text
    assert "out of memory" in page.text
    Page(render({}, Predictions.empty().table, classes=()))


def test_no_examples_shows_no_text_of_the_data(small):
    board, predictions = small
    words = [f"secret {row}" for row in range(60)]
    test = texts(predictions, "abc", words)
    _, html = page_of(board, predictions, test=test, embeddings=np.eye(60), examples=False)
    assert "secret" not in html
    assert "--no-examples" in html
    assert "secret" in page_of(board, predictions, test=test, embeddings=np.eye(60))[1]


def test_images_are_embedded_as_png_thumbnails(small):
    from PIL import Image

    board, predictions = small
    file = io.BytesIO()
    Image.fromarray(np.full((400, 300, 3), 90, np.uint8)).save(file, format="JPEG")
    labels = predictions.cell("all").labels
    table = pa.table({"image": [file.getvalue()] * 60, "label": labels})
    test = Dataset(table, {"image": "image", "label": "label"}, ("a", "b", "c"))
    page, _ = page_of(board, predictions, test=test)
    sources = [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
    assert sources
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert all(len(value) < 20_000 for value in sources)


def test_one_number_of_shots_has_no_curve():
    page, html = page_of(*trials(shots=(4,)))
    assert '<h2 id="labels">' not in html
    assert '<h2 id="cost">' in html


def test_several_models_are_told_apart():
    board, predictions = trials(shots=(4,))
    other = predictions.table.set_column(1, "model", pa.array(["vit"] * len(predictions.table)))
    both = Predictions(pa.concat_tables([predictions.table, other]))
    for row in list(board.rows):
        board.add(row.model_copy(update={"model": "vit"}))
    board.summarize(both, resamples=50)
    page, _ = page_of(board, both)
    assert "lora · vit" in page.text
    assert "lora · minilm" in page.text


def test_many_classes_keep_the_heat_map_small():
    board, predictions = trials(classes=150, rows=900)
    classes = [f"intent_{index}" for index in range(150)]
    features = np.random.default_rng(0).normal(size=(900, 16))
    page, html = page_of(board, predictions, classes, embeddings=features, test=texts(predictions, classes))
    assert "The 20 of 150 classes in the most frequent confusions" in page.text
    assert len(html) < 2_000_000


@pytest.mark.parametrize("rows", [1, 2, 3, 29, 40])
def test_few_rows_and_equal_embeddings_render(rows):
    board, predictions = trials(rows=rows)
    test = texts(predictions, "abc")
    for features in (np.random.default_rng(0).normal(size=(rows, 1)), np.zeros((rows, 4))):
        page_of(board, predictions, test=test, embeddings=features)


def test_large_boards_render_quickly():
    methods = [f"method_{index}" for index in range(13)]
    board, predictions = trials(methods, shots=(4,), classes=77, rows=10_000)
    arguments = {"classes": [f"class {index}" for index in range(77)], "test": texts_of(10_000)}
    plain = board.model_dump(mode="json")
    start = time.process_time()
    render(plain, predictions.table, **arguments)
    assert time.process_time() - start < 5


def texts_of(rows):
    return Dataset(pa.table({"text": [f"row {i}" for i in range(rows)]}), {"text": "text"})


def test_write_replaces_the_report_as_a_whole(small, tmp_path):
    board, predictions = small
    (tmp_path / "report.html").write_text("old")
    path = write(tmp_path, board.model_dump(mode="json"), predictions.table, classes=("a", "b", "\ud800"))
    assert path.read_text("utf-8").endswith("</html>\n")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def cell_of(prediction, confidence, label):
    prediction = np.array(prediction, np.int32)[:, None]
    arms = tuple((f"m{index}", "minilm") for index in range(len(prediction)))
    confidence = np.array(confidence, np.float32)[:, None]
    present = np.ones((len(arms), 1), bool)
    label = np.array(label, np.int64)
    return Cell(arms, (0,), np.arange(len(label)), label, prediction, confidence, present)


def test_notable_rows_on_a_case_worked_by_hand():
    """Row 3: all vote 1 at usual confidence, labelled 0. Row 4: all wrong, apart. Row 5: split, one right."""
    prediction = [[0, 1, 2, 1, 1, 0], [0, 1, 2, 1, 2, 1], [0, 1, 2, 1, 2, 2]]
    confidence = [[0.9, 0.8, 0.9, 0.9, 0.9, 0.5]] * 3
    votes = Votes.of(cell_of(prediction, confidence, [0, 1, 2, 0, 0, 0]))
    found = {name: [item.row for item in items] for name, items in notable_rows(votes, 8).items()}
    assert found == {"mislabelled": [3], "hardest": [4], "disputed": [5, 4]}
    shown = notable_rows(votes, 8)["hardest"][0]
    assert shown.votes[0] == (2, pytest.approx(2 / 3), pytest.approx(0.9))


def test_an_unsure_majority_does_not_call_a_row_mislabelled():
    prediction = [[0, 1, 1], [0, 1, 1]]
    votes = Votes.of(cell_of(prediction, [[0.9, 0.9, 0.4]] * 2, [0, 1, 0]))
    found = notable_rows(votes, 8)
    assert found["mislabelled"] == []
    assert [item.row for item in found["hardest"]] == [2]


def test_votes_keep_the_row_numbers_of_the_test_set():
    cell = cell_of([[1, 0]], [[0.5, np.nan]], [1, 1])
    cell = Cell(cell.arms, cell.seeds, np.array([2, 5]), *(getattr(cell, n) for n in ("labels", "predictions")),
                cell.confidence, cell.present)  # fmt: skip
    votes = Votes.of(cell)
    assert votes.label.tolist() == [-1, -1, 1, -1, -1, 1]
    assert votes.prediction.tolist() == [[-1, -1, 1, -1, -1, 0]]
    assert votes.confusion(("m0", "minilm"), 2).tolist() == [[0, 0], [1, 1]]


@pytest.mark.slow
def test_chromium_shows_hostile_labels_and_keeps_the_title(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    board, predictions = trials(methods=(*HOSTILE, "lora"))
    test = texts(predictions, HOSTILE[:3], [HOSTILE[row % 4] for row in range(60)])
    classes = HOSTILE[:3]
    arguments = {"classes": classes, "test": test, "embeddings": np.eye(60)}
    path = write(tmp_path, board.model_dump(mode="json"), predictions.table, **arguments)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--window-size=1280,4000"]
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}"]

    def chromium(*arguments):
        return subprocess.run([*command, *arguments, path.as_uri()], capture_output=True, text=True, timeout=120)

    dom = chromium("--dump-dom").stdout
    assert "<title>warmstart compare: report</title>" in dom
    assert "<h1>pwned" not in dom
    assert "&lt;script&gt;" in dom
    chromium(f"--screenshot={tmp_path / 'report.png'}")
    from PIL import Image

    with Image.open(tmp_path / "report.png") as image:
        assert image.size == (1280, 4000)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50
