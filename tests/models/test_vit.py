"""Random vision transformers."""

import pytest
import torch

from warmstart.models.builders import build_model
from warmstart.models.libraries import import_transformers


def test_is_a_transformers_vit_that_saves_and_loads_as_one(tmp_path):
    model = build_model({"vit": {"width": 24, "depth": 2, "heads": 3, "patch": 4, "image_size": 8}})
    model.backbone.save_pretrained(tmp_path)
    again = import_transformers().AutoModel.from_pretrained(tmp_path).eval()
    pixels = torch.randn(2, 3, 8, 8)
    expected = model.tower("image").encode({"pixel_values": pixels}).tokens
    torch.testing.assert_close(again(pixel_values=pixels).last_hidden_state, expected)
    assert expected.shape == (2, 5, 24)
    assert model.backbone.pooler is None


def test_pools_the_patches_or_the_class_token():
    pixels = torch.randn(2, 3, 8, 8)
    arguments = {"width": 24, "depth": 1, "heads": 3, "patch": 4, "image_size": 8}
    mean = build_model({"vit": arguments}).tower("image").encode({"pixel_values": pixels})
    torch.testing.assert_close(mean.pooled, mean.tokens[:, 1:].mean(1))
    first = build_model({"vit": arguments | {"pool": "first"}}).tower("image").encode({"pixel_values": pixels})
    torch.testing.assert_close(first.pooled, first.tokens[:, 0])


def test_the_seed_draws_the_weights():
    one, same, other = (build_model({"vit": {"width": 24, "depth": 1}}, seed=seed) for seed in (0, 0, 1))
    name = "layers.0.mlp.fc1.weight"
    assert (one.backbone.get_parameter(name) == same.backbone.get_parameter(name)).all()
    assert (one.backbone.get_parameter(name) != other.backbone.get_parameter(name)).any()


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="multiple of heads"):
        build_model({"vit": {"width": 20, "heads": 3}})
    with pytest.raises(ValueError, match="multiple of"):
        build_model({"vit": {"width": 24, "patch": 5, "image_size": 28}})
