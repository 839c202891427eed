"""The adapter is the part of the weight that the papers say, and peft agrees; what is saved comes back exactly."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_folder, tiny_rows
from torch import nn

from warmstart import ingredients
from warmstart.engine.rows import Rows
from warmstart.engine.saving import load_saved, save_model
from warmstart.models import fingerprint, load_model
from warmstart.tuners.svd_lora import SvdLora, decomposed

DENSE = "backbone.encoder.layer.0.intermediate.dense"


def rows_for(model) -> Rows:
    return Rows(model, tiny_rows(model.tower().modality))


def applied(model, **arguments):
    SvdLora(**arguments).apply(model, rows_for(model))
    return model


def adapter_of(model):
    return model.get_submodule(DENSE)


def parts(adapter) -> tuple[torch.Tensor, torch.Tensor]:
    return adapter.up_0.detach(), adapter.down_0.detach()


@torch.no_grad()
def moved(model):
    torch.manual_seed(1)
    for name, parameter in model.backbone.named_parameters():
        if ".up_" in name or ".down_" in name:
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def features(model) -> torch.Tensor:
    return model.eval().encode(rows_for(model).batch(np.arange(8))).pooled


@pytest.mark.faithful("corda")
@torch.no_grad()
def test_oriented_components_are_those_of_weight_times_covariance(tiny):
    weight = torch.randn(24, 16, dtype=torch.double)
    x = torch.randn(200, 16, dtype=torch.double) * torch.linspace(0.1, 3, 16)
    moment = x.T @ x / 200
    u, s, v = decomposed(weight, moment)
    damped = moment + 0.01 * moment.diag().mean() * torch.eye(16)
    torch.testing.assert_close(s, torch.linalg.svdvals(weight @ damped))
    torch.testing.assert_close(u * s @ v, weight)
    torch.testing.assert_close(u.T @ u, torch.eye(16, dtype=torch.double))


@pytest.mark.faithful("corda")
@torch.no_grad()
def test_damping_doubles_until_the_inverse_is_one():
    moment = torch.zeros(8, 8, dtype=torch.double)
    moment[0, 0] = 1.0
    u, s, v = decomposed(torch.randn(8, 8, dtype=torch.double), moment)
    assert torch.isfinite(v).all()


@pytest.mark.faithful("corda")
@torch.no_grad()
@pytest.mark.parametrize("end", ["top", "bottom"])
def test_equals_pefts_corda(tiny, end):
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import preprocess_corda

    ours, theirs = tiny("bert"), tiny("bert")
    applied(ours, rank=3, end=end, targets=["ffn.in"])
    ids = Rows(theirs, tiny_rows("text"))
    config = LoraConfig(
        r=3,
        lora_alpha=3,
        target_modules=["intermediate.dense"],
        init_lora_weights="corda",
        corda_config=CordaConfig(corda_method="ipm" if end == "top" else "kpm"),
    )
    # peft reads padded tokens too: rows of one length, one at a time, give both the same inputs up to a factor.
    whole = [i for i in range(8)]
    batch = ids.batch(np.array(whole))["text"]
    real = batch["attention_mask"].bool()

    def run():
        dense = theirs.backbone.encoder.layer
        seen = [[] for _ in dense]
        hooks = [
            layer.intermediate.dense.register_forward_pre_hook(lambda m, a, s=s: s.append(a[0]))
            for layer, s in zip(dense, seen, strict=True)
        ]
        saved = [layer.intermediate.dense._forward_hooks.copy() for layer in dense]
        for layer in dense:
            layer.intermediate.dense._forward_hooks.clear()
        theirs.eval().backbone(**batch)
        for hook in hooks:
            hook.remove()
        for layer, hooks_, (x,) in zip(dense, saved, seen, strict=True):
            layer.intermediate.dense._forward_hooks.update(hooks_)
            layer.intermediate.dense(x[real].unsqueeze(0))

    preprocess_corda(theirs.backbone, config, run_model=run)
    peft_layer = get_peft_model(theirs.backbone, config).base_model.model.encoder.layer[0].intermediate.dense
    up, down = parts(adapter_of(ours))
    theirs_product = peft_layer.lora_B["default"].weight @ peft_layer.lora_A["default"].weight
    torch.testing.assert_close(up @ down, theirs_product, rtol=1e-3, atol=1e-3)


@pytest.mark.faithful("corda")
@torch.no_grad()
def test_identity_and_top_is_pefts_pissa(tiny):
    from peft import LoraConfig, get_peft_model

    ours, theirs = tiny("bert"), tiny("bert")
    applied(ours, rank=3, orientation="identity", targets=["ffn.in"])
    config = LoraConfig(r=3, lora_alpha=3, target_modules=["intermediate.dense"], init_lora_weights="pissa")
    layer = get_peft_model(theirs.backbone, config).base_model.model.encoder.layer[0].intermediate.dense
    up, down = parts(adapter_of(ours))
    theirs_up, theirs_down = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    signs = (up * theirs_up).sum(0).sign()
    torch.testing.assert_close(up, theirs_up * signs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(down, theirs_down * signs.unsqueeze(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(adapter_of(ours).weight - up @ down, layer.base_layer.weight, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_diagonal_orientation_scales_the_columns(tiny):
    model = applied(tiny("bert"), rank=3, orientation="diagonal", targets=["ffn.in"])
    plain = tiny("bert")
    seen = []
    layer = plain.backbone.encoder.layer[0].intermediate.dense
    layer.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    batch = rows_for(plain).batch(np.arange(8))["text"]
    plain.eval().backbone(**batch)
    x = seen[0][batch["attention_mask"].bool()].double()
    scale = x.square().mean(0)
    scale = scale + 0.01 * scale.mean()
    u, s, v = torch.linalg.svd(layer.weight.double() * scale, full_matrices=False)
    up, down = parts(adapter_of(model))
    torch.testing.assert_close(up @ down, (u[:, :3] * s[:3] @ v[:3] / scale).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.faithful("corda")
@torch.no_grad()
@pytest.mark.parametrize("family", ["bert", "gpt2", "vit", "mobilenet"])
def test_starts_as_the_pretrained_model_and_folds(tiny, family):
    model = tiny(family)
    before, encoder = features(model), fingerprint(tiny(family).backbone)
    tuner = SvdLora(rank=2)
    tuner.apply(model, rows_for(model))
    torch.testing.assert_close(features(model), before, rtol=1e-6, atol=1e-6)
    moved(model)
    tuned = features(model)
    assert not torch.allclose(tuned, before, atol=1e-3)
    tuner.fold(model)
    torch.testing.assert_close(features(model), tuned, rtol=0, atol=1e-5 * max(1.0, tuned.abs().max().item()))
    assert fingerprint(model.backbone) != encoder


@torch.no_grad()
def test_parts_of_a_fused_weight_are_matrices_of_their_own(tiny):
    model = applied(tiny("gpt2"), rank=2, orientation="identity", targets=["attention.query", "attention.value"])
    layer = model.backbone.h[0].attn.c_attn
    weight = layer.weight.T
    for i, start in enumerate((0, 32)):
        u, s, v = torch.linalg.svd(weight[start : start + 16], full_matrices=False)
        product = getattr(layer, f"up_{i}") @ getattr(layer, f"down_{i}")
        torch.testing.assert_close(product, u[:, :2] * s[:2] @ v[:2], rtol=1e-4, atol=1e-5)
    moved(model)
    assert torch.equal(layer.change()[16:32], torch.zeros(16, 16))


@torch.no_grad()
def test_what_was_decomposed_from_data_comes_back_without_it(tiny, tmp_path):
    model = tiny("gpt2")
    tuner = SvdLora(rank=2)
    tuner.apply(model, rows_for(model))
    model.changes.append({"tune": tuner.describe()})
    moved(model)
    save_model(model, tmp_path)
    again = load_saved(tmp_path, lambda spec: ingredients.build("tuners", spec))
    assert torch.equal(features(again), features(model))
    for one in (again, model):
        tuner.fold(one)
    assert fingerprint(again.backbone) == fingerprint(model.backbone)


def test_calibrates_on_the_rows_that_are_to_be_kept(tiny):
    own = applied(tiny("vit"), rank=2, targets=["ffn.in"])
    other = applied(tiny("vit"), rank=2, targets=["ffn.in"], calibration="digits", rows=32)
    first, second = (m.backbone.layers[0].mlp.fc1.up_0 for m in (own, other))
    assert not torch.allclose(first, second)


def test_a_tower_that_the_data_does_not_reach_is_oriented_by_the_identity(tmp_path):
    model = load_model(str(tiny_folder("clip", tmp_path)))
    seen, unseen = load_model(model.source), load_model(model.source)
    SvdLora(rank=2).apply(seen, Rows(seen, tiny_rows("image")))
    SvdLora(rank=2, orientation="identity").apply(unseen, Rows(unseen, tiny_rows("image")))
    texts = [m.backbone.text_model.encoder.layers[0].mlp.fc1.up_0 for m in (seen, unseen)]
    images = [m.backbone.vision_model.encoder.layers[0].mlp.fc1.up_0 for m in (seen, unseen)]
    assert torch.equal(*texts)
    assert not torch.allclose(*images)


def test_says_why_it_does_not_fit():
    assert SvdLora.unfit(load_model(nn.Sequential(nn.Conv2d(3, 4, 3)))) is not None


@pytest.mark.parametrize("arguments", [{"rank": 0}, {"orientation": "up"}, {"end": "middle"}])
def test_refuses_what_it_cannot_mean(arguments):
    with pytest.raises(ValueError, match="rank|orientation|end"):
        SvdLora(**arguments)
