"""Masked autoencoding: parity with transformers' ViTMAE, and what the encoder is allowed to see."""

from types import SimpleNamespace

import pytest
import torch

from warmstart.data.dataset import DataError
from warmstart.engine.cast import Cast
from warmstart.engine.step import Step
from warmstart.models.libraries import import_transformers
from warmstart.models.vit import vit
from warmstart.objectives.masked_reconstruction import MaskedReconstruction
from warmstart.views import View
from warmstart.views.mask_sampler import MaskSampler

STEP = Step(index=3, total=10, seed=1)
PARTS = {
    "qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "out": ("attention.o_proj",),
    "ffn_in": ("mlp.fc1",),
    "ffn_out": ("mlp.fc2",),
    "norm_first": ("layernorm_before",),
    "norm_second": ("layernorm_after",),
}


def images(rows=5, size=16):
    torch.manual_seed(2)
    pixels = torch.randn(rows, 3, size, size)
    return {"modality": "image", "rows": torch.arange(rows), "image": {"pixel_values": pixels}}


def rows_of(batch):
    """Stands for Rows: one batch."""
    dataset = SimpleNamespace(roles={batch["modality"]: batch["modality"]}, name="data")
    first = {**batch, "image": {name: value[:1] for name, value in batch.get("image", {}).items()}}
    return SimpleNamespace(dataset=dataset, modality=batch["modality"], batch=lambda rows: first, labels=None)


def tiny_vit():
    torch.manual_seed(0)
    return vit(width=24, depth=2, heads=2, patch=4, image_size=16)


class NoiseMask(View):
    """Hides what ViTMAE hides under this noise (B, T)."""

    def __init__(self, noise: torch.Tensor, hidden: int):
        self.noise, self.hidden = noise, hidden

    def view(self, batch, step, draw=0):
        order = self.noise.argsort(1)
        kept, hidden = order[:, : -self.hidden], order[:, -self.hidden :]
        return {**batch, "image": {**batch["image"], "keep_tokens": kept}, "hidden": hidden}


@torch.no_grad()
def copy_weights(mae, model):
    encoder = {name.removeprefix("vit."): w for name, w in mae.state_dict().items() if name.startswith("vit.")}
    model.backbone.load_state_dict(encoder)
    theirs, ours = mae.decoder, model.attached["decoder"]
    ours.embed.load_state_dict(theirs.decoder_embed.state_dict())
    ours.norm.load_state_dict(theirs.decoder_norm.state_dict())
    ours.predict.load_state_dict(theirs.decoder_pred.state_dict())
    ours.hidden_token.copy_(theirs.mask_token.flatten())
    for block, layer in zip(ours.blocks, theirs.decoder_layers, strict=True):
        for name, paths in PARTS.items():
            for kind in ("weight", "bias"):
                parts = [getattr(layer.get_submodule(path), kind) for path in paths]
                getattr(getattr(block, name), kind).copy_(torch.cat(parts))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
def test_equals_the_loss_and_gradient_of_vit_mae(normalize, depth):
    torch.manual_seed(0)
    transformers = import_transformers()
    config = transformers.ViTMAEConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        image_size=16,
        patch_size=4,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=depth,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=64,
        norm_pix_loss=normalize,
        mask_ratio=0.75,
        layer_norm_eps=1e-6,
    )
    mae = transformers.ViTMAEForPreTraining(config).eval()
    torch.nn.init.normal_(mae.decoder.mask_token)
    mae.decoder.initialize_weights(16)
    batch, noise = images(), torch.rand(5, 16)
    model = tiny_vit()
    objective = MaskedReconstruction(view=NoiseMask(noise, 12), normalize=normalize, width=16, depth=depth, heads=2)
    objective.prepare(Cast(model), rows_of(batch))
    copy_weights(mae, model)
    theirs = mae(**batch["image"], noise=noise).loss
    ours = objective.loss(Cast(model), batch, STEP)["masked_reconstruction"]
    assert ours.shape == (5,)
    torch.testing.assert_close(ours.mean(), theirs)
    encoder = ["embeddings.patch_embeddings.projection.weight", "layers.1.mlp.fc1.weight", "layernorm.weight"]
    mine = [model.backbone.get_parameter(name) for name in encoder]
    other = [mae.vit.get_parameter(name) for name in encoder]
    gradients = zip(torch.autograd.grad(ours.mean(), mine), torch.autograd.grad(theirs, other), strict=True)
    for a, b in gradients:
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_blocks_see_the_visible_tokens_alone():
    model, batch = tiny_vit(), images()
    objective = MaskedReconstruction(ratio=0.75)
    objective.prepare(Cast(model), rows_of(batch))
    seen = []
    handle = model.tower("image").blocks[0].register_forward_hook(lambda m, a, out: seen.append(out.shape))
    objective.loss(Cast(model), batch, STEP)
    handle.remove()
    assert seen == [(5, 1 + 4, 24)]


def test_hidden_pixels_do_not_reach_the_prediction():
    model, batch = tiny_vit(), images(rows=1)
    objective = MaskedReconstruction(normalize=False, distance="l1")
    objective.prepare(Cast(model), rows_of(batch))
    predicted = []
    handle = model.attached["decoder"].register_forward_hook(lambda m, a, out: predicted.append((a[2], out)))
    objective.loss(Cast(model), batch, STEP)
    patch = predicted[0][0][0, 0].item()
    y, x = 4 * (patch // 4), 4 * (patch % 4)
    batch["image"]["pixel_values"][:, :, y : y + 4, x : x + 4] += 100
    objective.loss(Cast(model), batch, STEP)
    handle.remove()
    torch.testing.assert_close(predicted[0][1], predicted[1][1])


def test_a_members_states_can_be_the_target():
    model, batch = tiny_vit(), images()
    cast = Cast(model)
    cast.freeze("teacher")
    objective = MaskedReconstruction(view=MaskSampler(), target="teacher")
    objective.prepare(cast, rows_of(batch))
    assert model.attached["decoder"].predict.out_features == 24
    loss = objective.loss(cast, batch, STEP)["masked_reconstruction"].mean()
    loss.backward()
    assert all(p.grad is None for p in cast["teacher"].parameters())
    assert model.backbone.layers[0].mlp.fc1.weight.grad.abs().sum() > 0


def test_a_rows_mask_does_not_depend_on_its_batch():
    model, batch = tiny_vit(), images()
    objective = MaskedReconstruction()
    objective.prepare(Cast(model), rows_of(batch))
    whole = objective.loss(Cast(model), batch, STEP)["masked_reconstruction"]
    part = {**batch, "rows": batch["rows"][3:], "image": {"pixel_values": batch["image"]["pixel_values"][3:]}}
    torch.testing.assert_close(objective.loss(Cast(model), part, STEP)["masked_reconstruction"], whole[3:])
    later = objective.loss(Cast(model), batch, Step(index=4, total=10, seed=1))["masked_reconstruction"]
    assert not torch.allclose(whole, later)


def test_texts_and_encoders_without_patches_are_refused():
    text = {"modality": "text", "rows": torch.arange(1), "text": {}}
    with pytest.raises(DataError, match="holds text"):
        MaskedReconstruction().prepare(Cast(tiny_vit()), rows_of(text))
    from warmstart.models import load_model

    plain = load_model(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten()))
    with pytest.raises(LookupError, match="square patches"):
        MaskedReconstruction().prepare(Cast(plain), rows_of(images()))
