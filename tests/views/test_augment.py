"""Random transforms: what each does, and that a row's view depends on seed, step, row and draw alone."""

import pytest
import torch

from warmstart.data.dataset import DataError
from warmstart.engine.step import Step
from warmstart.views.augment import Augment

NOTHING = dict(crop=None, flip=0.0, light=0.0, colour=0.0)
STEP = Step(3, 9, 1)


def images(rows=8, grey=False):
    torch.manual_seed(0)
    pixels = torch.randn(rows, 1 if grey else 3, 12, 12)
    pixels = pixels.repeat(1, 3, 1, 1) if grey else pixels
    return {"modality": "image", "rows": torch.arange(rows), "image": {"pixel_values": pixels}}


def seen(batch, draw=0, step=STEP, **arguments):
    return Augment(**arguments).view(batch, step, draw)["image"]["pixel_values"]


def test_without_any_change_it_is_the_image():
    batch = images()
    torch.testing.assert_close(seen(batch, **NOTHING), batch["image"]["pixel_values"], atol=1e-5, rtol=1e-5)


def test_a_sure_flip_mirrors():
    batch = images()
    mirrored = batch["image"]["pixel_values"].flip(3)
    torch.testing.assert_close(seen(batch, **NOTHING | {"flip": 1.0}), mirrored, atol=1e-5, rtol=1e-5)


def test_crops_stay_inside_the_image_and_keep_the_share():
    ramp = torch.linspace(-1, 1, 12).view(1, 1, 1, 12).expand(500, 3, 12, 12)
    batch = {"modality": "image", "rows": torch.arange(500), "image": {"pixel_values": ramp}}
    cut = seen(batch, **NOTHING | {"crop": (0.25, 0.25), "aspect": 1.0})
    span = (cut[:, 0, 0, -1] - cut[:, 0, 0, 0]) / 2
    torch.testing.assert_close(span, torch.full((500,), 0.5), atol=0.05, rtol=0)
    left = cut[:, 0, 0, 0]
    assert left.min() < -0.9, "cuts reach the left border"
    assert left.max() > -0.1, "cuts reach the right border"


def test_a_shift_moves_over_the_border_and_repeats_it():
    batch = images(200)
    moved = seen(batch, **NOTHING | {"shift": 0.5})
    rows_equal = (moved[:, :, 1:] - moved[:, :, :-1]).abs().amax((1, 3)) < 1e-5
    assert rows_equal.any(), "some views reach so far over the border that whole lines repeat"


def test_a_turn_of_a_disc_leaves_the_disc():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 33), torch.linspace(-1, 1, 33), indexing="ij")
    disc = torch.exp(-8 * (x**2 + y**2)).expand(6, 3, 33, 33)
    batch = {"modality": "image", "rows": torch.arange(6), "image": {"pixel_values": disc}}
    torch.testing.assert_close(seen(batch, **NOTHING | {"rotate": 180.0}), disc, atol=0.02, rtol=0)
    corner = disc.clone()
    corner[:, :, :8, :8] = 1
    batch["image"]["pixel_values"] = corner
    assert (seen(batch, **NOTHING | {"rotate": 180.0}) - corner).abs().amax((1, 2, 3)).min() > 0.3


def test_blur_keeps_the_mean_and_lowers_the_variance_of_half_of_the_rows():
    batch = images(400)
    blurred = seen(batch, **NOTHING | {"blur": 2.0})
    before, after = batch["image"]["pixel_values"].var((1, 2, 3)), blurred.var((1, 2, 3))
    assert 0.35 < (after < 0.9 * before).float().mean() < 0.55
    flat = {**batch, "image": {"pixel_values": torch.ones(400, 3, 12, 12)}}
    torch.testing.assert_close(seen(flat, **NOTHING | {"blur": 2.0}), torch.ones(400, 3, 12, 12))


def test_grey_images_stay_grey():
    grey = seen(images(grey=True), colour=0.8, light=0.5, noise=0.3, blur=1.0)
    assert (grey.amax(1) - grey.amin(1)).max() < 1e-5
    coloured, batch = seen(images(), **NOTHING | {"colour": 0.8}), images()
    assert (coloured - batch["image"]["pixel_values"]).abs().max() > 0.1


def test_a_row_draws_by_seed_step_row_and_draw_alone():
    everything = dict(rotate=30, shear=10, shift=0.1, blur=1.0, noise=0.2)
    batch = images(20)
    whole = seen(batch, **everything)
    part = {**batch, "rows": batch["rows"][5:9], "image": {"pixel_values": batch["image"]["pixel_values"][5:9]}}
    torch.testing.assert_close(seen(part, **everything), whole[5:9])
    torch.testing.assert_close(seen(batch, **everything), whole)
    for other in (seen(batch, draw=1, **everything), seen(batch, step=Step(4, 9, 1), **everything)):
        assert ((other - whole).abs().amax((1, 2, 3)) > 1e-3).all()


def test_strength_scales_every_magnitude():
    batch = images()
    still = seen(batch, **NOTHING | {"rotate": 40, "noise": 0.5, "light": 0.5, "blur": 2.0, "strength": 0.0})
    torch.testing.assert_close(still, batch["image"]["pixel_values"], atol=1e-5, rtol=1e-5)


def test_text_tokens_are_dropped_from_attention_but_for_the_first_and_last():
    mask = torch.ones(300, 12, dtype=torch.long)
    mask[:, 9:] = 0
    ids = torch.arange(12).repeat(300, 1)
    batch = {"modality": "text", "rows": torch.arange(300), "text": {"input_ids": ids, "attention_mask": mask}}
    text = Augment(token_drop=0.3).view(batch, STEP)["text"]
    assert (text["input_ids"] == ids).all()
    assert (text["attention_mask"][:, [0, 8]] == 1).all()
    assert (text["attention_mask"][:, 9:] == 0).all()
    assert text["attention_mask"][:, 1:8].float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert text["attention_mask"].dtype == mask.dtype


def test_other_modalities_are_refused():
    with pytest.raises(DataError, match="not series"):
        Augment().view({"modality": "series", "rows": torch.arange(1), "series": {}}, STEP)
