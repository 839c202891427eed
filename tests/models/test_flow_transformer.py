"""The generator's network: what the text, the time and the empty condition do; its checkpoint; its parts."""

import pytest
import torch

from warmstart.engine.saving import release_model, save_model
from warmstart.models import ModelError, load_model
from warmstart.models.builders import build_model
from warmstart.models.generation import Generation

SMALL = {"tokenizer": "words:red blue circle", "width": 16, "heads": 2, "depth": 2, "patch": 4, "image_size": 8}


@pytest.fixture(scope="module")
def model():
    """With weights away from their start, at which neither text nor time would change anything."""
    made = build_model({"flow_transformer": SMALL})
    torch.manual_seed(0)
    for parameter in made.backbone.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return made


@torch.no_grad()
def velocity(model, text="red circle", t=0.5, dropped=None, seed=1):
    generation = Generation(model)
    x = torch.randn(1, *generation.shape, generator=torch.Generator().manual_seed(seed))
    return generation.velocity(x, torch.tensor([t]), generation.texts([text]), dropped)


def test_text_and_time_change_the_velocity(model):
    assert velocity(model).shape == (1, 3, 8, 8)
    assert not torch.allclose(velocity(model), velocity(model, text="blue circle"), atol=1e-3)
    assert not torch.allclose(velocity(model), velocity(model, t=0.6), atol=1e-3)


def test_a_dropped_text_is_the_empty_condition(model):
    dropped = velocity(model, dropped=torch.tensor([True]))
    torch.testing.assert_close(dropped, velocity(model, text="blue", dropped=torch.tensor([True])))
    generation = Generation(model)
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        empty = generation.velocity(x, torch.tensor([0.5]), generation.empty(1))
    torch.testing.assert_close(dropped, empty)


@torch.no_grad()
def test_padding_changes_nothing(model):
    generation = Generation(model)
    texts = generation.texts(["red", "red blue circle"])
    x = torch.randn(2, 3, 8, 8)
    together = generation.velocity(x, torch.full((2,), 0.3), texts)
    alone = generation.velocity(x[:1], torch.full((1,), 0.3), generation.texts(["red"]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_a_patch_of_the_output_is_where_the_patch_of_the_input_was():
    """With every weight but the last layer's bias at zero, each patch is that bias, rows before columns."""
    twin = build_model({"flow_transformer": SMALL})
    twin.backbone.predict.bias.data = torch.arange(48.0)
    rest = Generation(twin).velocity(torch.zeros(1, 3, 8, 8), torch.ones(1), Generation(twin).empty(1))[0]
    expected = torch.arange(48.0).view(4, 4, 3).permute(2, 0, 1).repeat(1, 2, 2)
    torch.testing.assert_close(rest.detach(), expected)


@pytest.mark.parametrize("save", [save_model, release_model])
def test_is_saved_and_loaded(model, tmp_path, save):
    save(model, tmp_path)
    again = load_model(str(tmp_path))
    loose = {"atol": 3e-2, "rtol": 3e-2} if save is release_model else {}
    torch.testing.assert_close(velocity(again), velocity(model), **loose)
    assert set(again.towers) == {"image", "text"}


def test_its_parts_have_names(model):
    names = [part.name for part in model.tower("image").parts("block.1.attention.*", "block.*.ffn.in")]
    assert names == [
        "block.0.ffn.in",
        "block.1.attention.query",
        "block.1.attention.key",
        "block.1.attention.value",
        "block.1.attention.out",
        "block.1.ffn.in",
    ]


def test_pixels_are_bytes(model):
    images = torch.tensor([-1.5, -1.0, 0.0, 1.0]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    assert Generation(model).pixels(images)[0, :, :, 0].tolist() == [[0, 0], [128, 255]]


def test_what_does_not_generate_says_so():
    with pytest.raises(ModelError, match="does not generate images"):
        Generation(build_model({"vit": {"width": 8, "depth": 1, "heads": 2, "image_size": 8}}))
