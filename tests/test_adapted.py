import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import save_tiny_bert, save_tiny_vit, write_shapes, write_topics

import warmstart as ws
from warmstart.adapted import FILE, TENSORS, as_dataset, read_inputs
from warmstart.compare.predictions import Predictions
from warmstart.data import DataError, load_data
from warmstart.models import ModelError


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WARMSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    root = tmp_path_factory.mktemp("topics")
    return str(save_tiny_bert(root / "bert")), str(write_topics(root / "data"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    return str(save_tiny_vit(root / "vit")), str(write_shapes(root / "data"))


@pytest.fixture(scope="module")
def winner(topics, shapes, tmp_path_factory):
    """winner(method, images=False) -> the folder of a comparison in which it is the only method."""
    made = {}

    def make(method, images=False):
        if (method, images) not in made:
            model, data = shapes if images else topics
            out = tmp_path_factory.mktemp(method) / "out"
            ws.compare(model, data, shots=(2,), methods=method, seeds=1, budget=0.2, out=out)
            made[method, images] = out
        return made[method, images]

    return make


def answers_of_winner(folder):
    """(prediction, confidence) of the winner's row."""
    trial = json.loads((folder / "winner" / "trial.json").read_text())
    table = Predictions.read(folder / "predictions.parquet").table.to_pylist()
    wanted = (trial["method"], str(trial["shots"]), trial["seed"])
    mine = [row for row in table if (row["method"], row["shots"], row["seed"]) == wanted]
    return np.array([row["prediction"] for row in mine]), np.array([row["confidence"] for row in mine])


@pytest.mark.parametrize("method", ["nearest_mean", "zero_shot", "linear_head", "scale_shift", "lora", "full"])
def test_a_winner_gives_the_predictions_of_its_row(winner, topics, method):
    folder = winner(method)
    assert json.loads((folder / "winner" / "trial.json").read_text())["method"] == method
    probabilities = ws.load(folder / "winner").probabilities(load_data(topics[1]).test)
    predicted, confidence = answers_of_winner(folder)
    assert probabilities.argmax(1).tolist() == predicted.tolist()
    np.testing.assert_allclose(probabilities.max(1), confidence, atol=1e-5)


@pytest.mark.parametrize("method", ["logistic", "full"])
def test_a_winner_of_images_gives_the_predictions_of_its_row(winner, shapes, method):
    folder = winner(method, images=True)
    probabilities = ws.load(folder / "winner").probabilities(load_data(shapes[1]).test)
    predicted, confidence = answers_of_winner(folder)
    assert probabilities.argmax(1).tolist() == predicted.tolist()
    np.testing.assert_allclose(probabilities.max(1), confidence, atol=1e-5)


@pytest.mark.parametrize("method", ["nearest_mean", "full", "lora"])
def test_a_winner_is_plain_transformers_and_peft(winner, method):
    from warmstart.models.libraries import import_transformers

    folder = winner(method) / "winner"
    transformers = import_transformers()
    tokens = transformers.AutoTokenizer.from_pretrained(folder / "backbone" if method == "lora" else folder)
    if method == "lora":
        from peft import PeftModel

        stated = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        assert stated == str((folder / "backbone").resolve())
        model = PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(stated), folder).base_model.model
    else:
        model = transformers.AutoModel.from_pretrained(folder)
    batch = tokens(["the cat and the rain"], return_tensors="pt")
    ours = ws.load(folder).model.backbone
    with torch.inference_mode():
        theirs, mine = model.eval()(**batch).last_hidden_state, ours(**batch).last_hidden_state
    torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=0)


def test_nothing_in_a_winner_is_a_pickle(winner):
    kinds = {path.suffix for path in (winner("full") / "winner").rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".txt", ".model"}


def test_predictions_do_not_depend_on_the_rows_beside(winner):
    model = ws.load(winner("nearest_mean") / "winner")
    texts = ["the cat", "some bread and milk with a soup", "rain"]
    together = model.probabilities(texts)
    alone = np.concatenate([model.probabilities([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert model.predict(texts)[1] == (model.classes[together[1].argmax()], pytest.approx(together[1].max()))


def test_no_rows_have_no_predictions(winner):
    model = ws.load(winner("nearest_mean") / "winner")
    assert model.probabilities([]).shape == (0, 3)
    assert model.predict([]) == []


def test_images_can_be_files_bytes_and_arrays(winner, shapes):
    from PIL import Image

    model = ws.load(winner("logistic", images=True) / "winner")
    file = Path(shapes[1]) / "test" / "left" / "0.png"
    data, array = file.read_bytes(), np.asarray(Image.open(file))
    found = [model.probabilities([one]) for one in (file, data, array)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_save_and_load_go_round(winner, tmp_path):
    model = ws.load(winner("nearest_mean") / "winner")
    model.save(tmp_path / "copy")
    texts = ["the cat", "rain"]
    np.testing.assert_array_equal(ws.load(tmp_path / "copy").probabilities(texts), model.probabilities(texts))


def test_a_folder_that_is_no_winner_is_said(winner, tmp_path):
    with pytest.raises(ModelError, match="no adapted.json in it; name the winner/ folder"):
        ws.load(tmp_path)
    with pytest.raises(ModelError, match="no adapted.json in it; name .*winner"):
        ws.load(winner("nearest_mean"))
    with pytest.raises(ModelError, match="no adapted.json"):
        ws.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "content"),
    [(FILE, "{"), (FILE, "{}"), (FILE, "[]"), (TENSORS, "short"), ("model.safetensors", ""), ("warmstart.json", "{}")],
)
def test_a_damaged_winner_is_one_line(winner, tmp_path, file, content):
    import shutil

    folder = shutil.copytree(winner("nearest_mean") / "winner", tmp_path / "damaged")
    (folder / file).write_text(content)
    with pytest.raises(ModelError) as caught:
        ws.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_inputs_are_literal_texts_or_files_of_them(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("first line\n\nsecond line\n", encoding="utf-8-sig")
    assert read_inputs(["where is my card?", str(file)], "text") == ["where is my card?", "first line", "second line"]
    long = "word " * 3000
    assert read_inputs([long, "nul \0 byte"], "text") == [long, "nul \0 byte"]


def test_a_file_that_is_no_text_is_said(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ModelError, match="cat.png: not a readable text file"):
        read_inputs([str(tmp_path / "cat.png")], "text")
    (tmp_path / "cats.csv").write_text("text,label\na,b\n")
    with pytest.raises(ModelError, match="cats.csv: a table; give its texts as a file with one on each line"):
        read_inputs([str(tmp_path / "cats.csv")], "text")


def test_an_image_that_is_not_there_or_none_is_said(tmp_path):
    with pytest.raises(ModelError, match="cat.png: no such file; this model reads images"):
        read_inputs(["cat.png"], "image")
    (tmp_path / "cat.png").write_text("no image")
    with pytest.raises(DataError, match="cat.png: not a readable image"):
        read_inputs([str(tmp_path / "cat.png")], "image")
    with pytest.raises(DataError, match="nowhere.png: No such file"):
        as_dataset([tmp_path / "nowhere.png"], "image")


def test_other_modalities_are_given_as_data():
    with pytest.raises(ModelError, match="reads audio"):
        as_dataset([b"..."], "audio")
