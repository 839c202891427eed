import json
import os
import signal
import subprocess
import sys
import time

import pytest
from toys import TOPICS, save_tiny_bert, save_tiny_vit, sentences, write_csv, write_shapes, write_topics
from typer.testing import CliRunner

import warmstart as ws
from warmstart import cli
from warmstart.cli import app
from warmstart.models.libraries import import_transformers


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with models, data and two finished comparisons; all commands here are given in it."""
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WARMSTART_CACHE", str(root / "cache"))
        patched.setattr(cli, "_quieten", lambda: None)
        # A process of its own says so before it imports the library; here it is imported already.
        import_transformers().utils.logging.disable_progress_bar()
        save_tiny_bert(root / "bert"), save_tiny_vit(root / "vit")
        write_topics(root / "topics"), write_shapes(root / "shapes")
        quick = {"shots": (2,), "seeds": 1, "budget": 1}
        ws.compare(str(root / "bert"), str(root / "topics"), methods="nearest_mean", out=root / "texts", **quick)
        ws.compare(str(root / "vit"), str(root / "shapes"), methods="logistic", out=root / "images", **quick)
        yield root


@pytest.fixture
def warmstart(home, monkeypatch, tmp_path):
    """warmstart("compare ...") -> the finished command, run in a folder with models/bert, data/topics ..."""
    monkeypatch.chdir(home)

    def run(line):
        arguments = line.format(tmp=tmp_path).split() if isinstance(line, str) else line
        return CliRunner().invoke(app, arguments)

    return run


QUICK = "--shots 2 --seeds 1 --budget 0.2s --methods nearest_mean"


def test_compare_prints_a_board_and_where_everything_is(warmstart, tmp_path):
    done = warmstart("compare bert topics " + QUICK + " --out {tmp}/o")
    assert done.exit_code == 0, done.output
    assert "[4/4] nearest_mean, 2 labels a class, seed 0:" in done.stdout
    assert "<- recommended" in done.stdout
    assert f"report: {tmp_path}/o/report.html" in done.stdout
    assert f"winner: {tmp_path}/o/winner" in done.stdout
    assert json.loads((tmp_path / "o" / "board.json").read_text())["partial"] is False


def test_all_options_reach_the_comparison(warmstart, home, tmp_path):
    rows = [(text, label, "mail", i, i // 3) for i, (text, label) in enumerate(
        (text, topic) for topic in TOPICS for text in sentences(topic, 12, 0)
    )]  # fmt: skip
    rows += [("a piano", "music", "chat", 99, 99), ("the cat", "animals", "chat", 99, 99), ("", "food", "mail", 98, 98)]
    data = write_csv(tmp_path / "d.csv", rows, header=("words", "topic", "domain", "day", "user"))
    more = write_csv(tmp_path / "more.csv", [("rain",), ("milk milk",)], header=("words",))
    names = tmp_path / "names.csv"
    names.write_text("label,name\n" + "".join(f"{topic},{topic} talk\n" for topic in TOPICS))
    done = warmstart(
        ["compare", "bert,bert", str(data), *QUICK.split(), "--text", "words", "--label", "topic", "--group", "user"]
        + ["--where", "domain=mail", "--shifted-where", "domain=chat", "--metric", "macro_f1", "--no-examples"]
        + ["--unlabeled", str(more), "--label-names", str(names), "--skip-bad", "--out", str(tmp_path / "o")]
    )
    assert done.exit_code == 0, done.output
    board = json.loads((tmp_path / "o" / "board.json").read_text())
    assert board["metric"] == "macro_f1"
    assert board["run"]["rows"]["unlabeled"] == 2
    assert board["run"]["rows"]["shifted"] == 2
    assert all(row["shifted_auroc"] is not None for row in board["rows"])
    assert board["run"]["command"].startswith("warmstart ")
    assert ws.load(tmp_path / "o" / "winner").classes == tuple(sorted(f"{topic} talk" for topic in TOPICS))


def test_a_dry_run_prints_the_plan_and_writes_nothing(warmstart, tmp_path):
    done = warmstart("compare bert topics " + QUICK + " --out {tmp}/o --dry-run")
    assert done.exit_code == 0
    assert "nearest_mean" in done.stdout
    assert "nothing was written" in done.stdout
    assert not (tmp_path / "o").exists()


def write_bad_data(folder):
    one = [("cat", "a"), ("dog", "a")]
    write_csv(folder / "one_class.csv", one)
    write_csv(folder / "empty.csv", [])
    (folder / "nothing.csv").write_text("")
    write_csv(folder / "odd_header.csv", one, header=("txet", "lable"))
    write_csv(folder / "few.csv", [(f"word {i}", "ab"[i % 2]) for i in range(8)])
    (folder / "broken.parquet").write_bytes(b"PAR1 nothing")
    (folder / "broken.jsonl").write_text('{"text": "a", "label": "b"}\n{"text"\n')
    unseen = folder / "unseen"
    unseen.mkdir()
    write_csv(unseen / "train.csv", [(f"word {i}", "ab"[i % 2]) for i in range(8)])
    write_csv(unseen / "test.csv", [("word", "c")])
    (folder / "cat").mkdir()
    (folder / "cat" / "cat.png").write_text("no image")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("compare nobert topics", "no model 'nobert'"),
        ("compare zoo/nothing topics", "no model 'nothing' in the zoo"),
        ("compare hf:./nowhere topics", "hf:./nowhere"),
        ("compare bert nowhere.csv", "nowhere.csv"),
        ("compare vit topics", "reads image, not text"),
        ("compare bert shapes", "reads text, not image"),
        ("compare bert topics --methods nearest_meen", "did you mean 'nearest_mean'"),
        ("compare bert topics --methods ,", "no methods"),
        ("compare bert topics --shots 0", "shots '0'"),
        ("compare bert topics --shots 9", "class 'animals' has 8 training rows, and 9 shots were asked for"),
        ("compare bert topics --budget soon", "budget 'soon' is no time"),
        ("compare bert topics --metric f1", "metric 'f1'"),
        ("compare bert topics --engine spark", "engine 'spark'"),
        ("compare bert topics --seeds 0", "seeds 0"),
        ("compare bert topics --where domain", "'domain' is no condition: write COLUMN=VALUE"),
        ("compare bert topics --where domain=photo", "domain"),
        ("compare bert topics --label lable", "lable"),
        ("compare bert topics --group user --time when", "group or time"),
        ("compare bert topics --resume --out {tmp}/none", "nothing to resume"),
        ("compare bert topics --resume", "--resume needs --out"),
        ("compare bert topics --out {tmp}", "not empty and not a comparison"),
        ("compare bert topics --shots 1 --seeds 1 --budget 1 --out texts", "shots: 2 -> 1"),
        (
            "compare bert topics --shots 2 --seeds 1 --budget 1 --methods gda --resume --out texts",
            "methods: nearest_mean -> gda",
        ),
        ("compare bert {tmp}/one_class.csv", "one class"),
        ("compare bert {tmp}/empty.csv", "empty.csv"),
        ("compare bert {tmp}/nothing.csv", "nothing.csv"),
        ("compare bert {tmp}/odd_header.csv --label label", "lable"),
        ("compare bert {tmp}/few.csv --shots 50", "50 shots were asked for"),
        ("compare bert {tmp}/broken.parquet", "broken.parquet"),
        ("compare bert {tmp}/broken.jsonl", "broken.jsonl row 2"),
        ("compare bert {tmp}/unseen", "'c'"),
        ("compare bert topics --shifted {tmp}/nowhere.csv", "nowhere.csv"),
        ("list predictor", "no kind 'predictor'; did you mean 'predictors'"),
        ("show gdaa", "did you mean 'gda'"),
        ("run no-such-recipe", "no-such-recipe"),
        ("predict topics the-cat", "no adapted.json"),
        ("predict texts the-cat", "name texts/winner"),
        ("predict nowhere the-cat", "no adapted.json"),
        ("predict images/winner nowhere.png", "nowhere.png: no such file"),
        ("predict images/winner {tmp}/cat/cat.png", "cat.png: not a readable image"),
        ("predict texts/winner shapes/test/left/0.png", "0.png: not a readable text file"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(warmstart, tmp_path, line, said):
    write_bad_data(tmp_path)
    done = warmstart(line)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stderr.strip().startswith("warmstart: ")
    assert done.stderr.strip().count("\n") == 0
    assert "Traceback" not in done.output


def test_a_full_disk_ends_with_one_line_and_exit_code_2(warmstart, monkeypatch, tmp_path):
    import errno

    from warmstart.compare.predictions import Predictions

    def full(*arguments):
        from warmstart.engine import atomic

        def refuse(source, target):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", refuse)
            atomic.write_atomic(tmp_path / "x", b"")

    monkeypatch.setattr(Predictions, "append", full)
    done = warmstart("compare bert topics " + QUICK + " --out {tmp}/o")
    assert done.exit_code == 2
    assert "No space left on device; free some space" in done.stderr
    assert json.loads((tmp_path / "o" / "board.json").read_text())["partial"]


def test_a_fault_of_ours_keeps_its_traceback(warmstart, monkeypatch):
    monkeypatch.setattr("warmstart.ingredients.names", lambda kind: 1 / 0)
    assert isinstance(warmstart("list").exception, ZeroDivisionError)


def test_predict_prints_a_label_and_its_probability_for_every_input(warmstart, home, tmp_path):
    (tmp_path / "texts.txt").write_text("bread and milk\nrain\n")
    done = warmstart(["predict", "texts/winner", "my cat and the dog", str(tmp_path / "texts.txt")])
    assert done.exit_code == 0, done.output
    model = ws.load(home / "texts" / "winner")
    expected = model.predict(["my cat and the dog", "bread and milk", "rain"])
    assert done.stdout.splitlines() == [f"{label}\t{probability:.3f}" for label, probability in expected]


def test_predict_reads_images(warmstart, home):
    files = [f"shapes/test/{side}/{i}.png" for side in ("left", "right") for i in range(2)]
    done = warmstart(["predict", "images/winner", *files])
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [
        label for label, _ in ws.load(home / "images" / "winner").predict([home / file for file in files])
    ]


def test_list_names_every_kind_with_a_line_each(warmstart):
    everything, predictors = warmstart("list").stdout, warmstart("list predictors").stdout
    assert predictors in everything
    assert "nearest_mean                 The class whose mean is nearest." not in predictors
    assert "  nearest_mean                 Nearest class mean (prototype)." in predictors.splitlines()
    assert {"objectives", "tuners", "recipes"} <= set(everything.splitlines())


@pytest.mark.parametrize("name", ["gda", "lora", "cross_entropy"])
def test_show_prints_an_ingredient_with_its_defaults(warmstart, name):
    done = warmstart(["show", name])
    assert done.exit_code == 0, done.output
    assert name in done.stdout
    assert "parameters" in done.stdout


def test_show_prints_a_recipe(warmstart):
    name = warmstart("list recipes").stdout.splitlines()[1].split()[0]
    assert "steps:" in warmstart(["show", name]).stdout


def test_conditions_are_columns_and_values():
    assert cli._conditions(["a=b", "c=d=e", "x="]) == {"a": "b", "c": "d=e", "x": ""}
    assert cli._conditions([]) is None


def started(home, *arguments):
    environment = os.environ | {"WARMSTART_CACHE": str(home / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "warmstart", *arguments], cwd=home, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_hears_ctrl_c,
    )  # fmt: skip


def _hears_ctrl_c() -> None:
    """What runs in the background of a script inherits that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_help_answers_at_once(home):
    """A loose bound, since other work may share the machine; `make bench` measures it."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        out, _ = started(home, "--help").communicate()
        times.append(time.perf_counter() - start)
        assert all(verb in out for verb in ("compare", "predict", "list", "show", "run"))
    assert min(times) < 2


def test_ctrl_c_leaves_a_partial_board_and_resume_finishes_it(home, warmstart, tmp_path):
    line = f"compare bert topics {QUICK},full --seeds 3 --out {tmp_path}/o".split()
    process = started(home, *line)
    for text in process.stdout:
        if text.startswith("[10/"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert f"the same command with --out {tmp_path}/o --resume goes on" in out
    board = json.loads((tmp_path / "o" / "board.json").read_text())
    assert board["partial"]
    assert 10 <= len(board["rows"]) < 15
    assert "partial" in (tmp_path / "o" / "report.html").read_text().lower()
    assert not list((tmp_path / "o").rglob(".*"))
    done = warmstart([*line, "--resume"])
    assert done.exit_code == 0, done.output
    board = json.loads((tmp_path / "o" / "board.json").read_text())
    assert (board["partial"], len(board["rows"])) == (False, 15)


def test_ctrl_c_before_there_is_a_plan_is_one_line(home, tmp_path):
    process = started(home, "compare", "bert", "topics", "--out", str(tmp_path / "o"))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_an_arm_of_a_recipe_runs_alone(warmstart, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "model: {vit: {width: 16, depth: 1, heads: 2, patch: 4, image_size: 8}}\n"
        "data: digits\n"
        "steps: {tune: {train: {objective: cross_entropy, steps: 3}}, more: {train: {objective: cross_entropy}}}\n"
        "arms: {short: {more: null}}\n"
    )
    done = warmstart("run {tmp}/tiny.yaml --arm short --out {tmp}/out")
    assert done.exit_code == 0, done.output
    assert list(json.loads((tmp_path / "out" / "run.json").read_text())["steps"]) == ["tune"]
    wrong = warmstart("run {tmp}/tiny.yaml --arm shirt")
    assert wrong.exit_code == 2
    assert "no arm 'shirt'; did you mean 'short'?" in wrong.stderr
