"""Blocks on a subset of the tokens, in any vision transformer."""

import pytest
import torch

from warmstart.models.libraries import import_timm, import_transformers
from warmstart.models.loaders import around
from warmstart.models.tower import Tower

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIZE = {"image_size": 16, "patch_size": 4}


def transformers_vit(kind):
    transformers = import_transformers()
    torch.manual_seed(0)
    if kind == "CLIPVisionModel":
        config = transformers.CLIPVisionConfig(**SMALL, **SIZE)
    else:
        config = getattr(transformers, kind.replace("Model", "Config"))(**SMALL, **SIZE)
    return around(getattr(transformers, kind)(config).eval()).tower("image")


def timm_vit(**keys):
    timm = import_timm()
    torch.manual_seed(0)
    module = timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=0, **keys
    )

    def run(module, inputs):
        features = module.forward_features(inputs["pixel_values"])
        return features, module.forward_head(features, pre_logits=True)

    return Tower(module.eval(), "image", run, lambda dataset: None, pool="mean")


TOWERS = {
    "vit": (lambda: transformers_vit("ViTModel"), 1),
    "deit": (lambda: transformers_vit("DeiTModel"), 2),
    "dinov2": (lambda: transformers_vit("Dinov2Model"), 1),
    "clip": (lambda: transformers_vit("CLIPVisionModel"), 1),
    "timm": (timm_vit, 1),
    "timm with registers": (lambda: timm_vit(reg_tokens=3), 4),
    "timm without class token": (lambda: timm_vit(class_token=False, global_pool="avg"), 0),
}


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_keeping_all_tokens_in_another_order_permutes_the_output(name):
    make, prefix = TOWERS[name]
    tower, pixels = make(), torch.randn(3, 3, 16, 16)
    whole = tower.encode({"pixel_values": pixels}).tokens
    assert tower.prefix_tokens == prefix
    assert whole.shape[1] == prefix + 16
    order = torch.stack([torch.randperm(16) for _ in range(3)])
    tokens = tower.encode({"pixel_values": pixels, "keep_tokens": order}).tokens
    torch.testing.assert_close(tokens[:, :prefix], whole[:, :prefix], atol=1e-5, rtol=1e-4)
    expected = whole[:, prefix:].gather(1, order.unsqueeze(-1).expand(-1, -1, 16))
    torch.testing.assert_close(tokens[:, prefix:], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_tokens_left_out_reach_nothing(name):
    make, prefix = TOWERS[name]
    tower, pixels = make(), torch.randn(2, 3, 16, 16)
    kept = torch.tensor([[5, 6, 9], [0, 15, 3]])
    encoding = tower.encode({"pixel_values": pixels, "keep_tokens": kept}, keep=["block.0"])
    assert encoding.tokens.shape == encoding.states["block.0"].shape == (2, prefix + 3, 16)
    changed = pixels.clone()
    changed[:, :, 0:4, 8:12] += 10.0  # patch 2, which neither row keeps
    again = tower.encode({"pixel_values": changed, "keep_tokens": kept})
    torch.testing.assert_close(again.tokens, encoding.tokens)
    assert not torch.allclose(
        tower.encode({"pixel_values": changed}).tokens, tower.encode({"pixel_values": pixels}).tokens
    )


def test_the_hook_is_gone_after_the_call():
    tower, pixels = transformers_vit("ViTModel"), torch.randn(1, 3, 16, 16)
    tower.encode({"pixel_values": pixels, "keep_tokens": torch.tensor([[1, 2]])})
    assert tower.encode({"pixel_values": pixels}).tokens.shape[1] == 17


def test_patches_are_known_from_the_first_convolution():
    assert transformers_vit("ViTModel").patch.stride == (4, 4)
    assert timm_vit().patch.stride == (4, 4)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 2, stride=2))
    with pytest.raises(LookupError, match="square patches"):
        Tower(plain, "image", None, None).patch  # noqa: B018
