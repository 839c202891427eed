"""Every checkpoint of the zoo: small, loadable by plain transformers, better than what it has to beat."""

import json

import pytest
import torch
from sklearn.datasets import load_digits

from warmstart.models import count, load_model
from warmstart.models.libraries import import_transformers
from warmstart.models.loaders import ZOO

NAMES = sorted(path.parent.name for path in ZOO.glob("*/config.json"))


@pytest.mark.parametrize("name", NAMES)
def test_is_small_and_says_how_it_was_made(name):
    card = json.loads((ZOO / name / "card.json").read_text())
    assert {"recipe", "data", "seed", "steps", "parameters", "quality"} <= set(card)
    weights = [weight for _, weight in load_model(f"zoo/{name}").tower().named_parameters()]
    assert card["parameters"] == count(weights) <= 1_000_000
    assert (ZOO / name / "model.safetensors").stat().st_size < 2_000_000


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_plain_transformers_computes_the_same(name):
    pixels = torch.randn(2, 3, 28, 28)
    plain = import_transformers().AutoModel.from_pretrained(ZOO / name).eval()
    ours = load_model(f"zoo/{name}").tower("image").encode({"pixel_values": pixels})
    torch.testing.assert_close(plain(pixel_values=pixels).last_hidden_state, ours.tokens)
    torch.testing.assert_close(ours.pooled, ours.tokens[:, 1:].mean(1))


@torch.no_grad()
def test_vit_mnist_reads_digits_better_than_pixels_and_than_its_random_twin():
    """Nearest class mean of four labels a class, over five draws, on 600 digits."""
    digits = load_digits()
    images, labels = torch.from_numpy(digits.images[:800]), torch.from_numpy(digits.target[:800])
    pixels = images.float().unsqueeze(1).repeat(1, 3, 1, 1) / 8 - 1
    scaled = torch.nn.functional.interpolate(pixels, 28, mode="bicubic", antialias=True).clamp(-1, 1)
    features = {"pixels": pixels.flatten(1)}
    for name, pretrained in (("pretrained", True), ("random", False)):
        model = load_model("zoo/vit-mnist", pretrained=pretrained)
        features[name] = torch.cat(
            [model.tower("image").encode({"pixel_values": part}).pooled for part in scaled.split(100)]
        )
    accuracy = {name: few_shot_accuracy(values, labels) for name, values in features.items()}
    assert accuracy["pretrained"] > accuracy["pixels"] + 0.02
    assert accuracy["pretrained"] > accuracy["random"] + 0.2


def few_shot_accuracy(features, labels, shots=4, draws=5):
    unit = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    right = []
    for seed in range(draws):
        order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
        means = torch.stack([unit[order[labels[order] == c][:shots]].mean(0) for c in range(10)])
        right.append((unit[200:] @ means.T).argmax(1) == labels[200:])
    return torch.cat(right).float().mean().item()
