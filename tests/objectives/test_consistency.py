"""Cross-entropy or squared distance to given probabilities, with their sharpening, weights and rows."""

import pytest
import torch

from warmstart.engine.cast import Cast
from warmstart.engine.scores import scores
from warmstart.engine.step import Step
from warmstart.models.vit import vit
from warmstart.objectives.consistency import Consistency
from warmstart.views import View


class Brighter(View):
    def view(self, batch, step, draw=0):
        return {**batch, "image": {"pixel_values": batch["image"]["pixel_values"] + 0.5}}


@pytest.fixture
def cast():
    torch.manual_seed(0)
    model = vit(width=16, depth=1, heads=2, patch=4, image_size=8)
    model.attach("head", "linear", width=16, outputs=3, zero=False)
    return Cast(model)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return {"modality": "image", "rows": torch.arange(4), "image": {"pixel_values": torch.randn(4, 3, 8, 8)}}


TARGET = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2], [0.98, 0.01, 0.01]])


def loss(objective, cast, batch):
    return objective.loss(cast, batch, Step())["consistency"]


@pytest.mark.faithful("cotta")
def test_equals_the_official_softmax_entropy(cast, batch):
    """cotta.py: -(x_ema.softmax(1) * x.log_softmax(1)).sum(1)."""
    x, x_ema = scores(cast.model, batch), torch.randn(4, 3)
    expected = -(x_ema.softmax(1) * x.log_softmax(1)).sum(1)
    torch.testing.assert_close(loss(Consistency(), cast, {**batch, "soft_label": x_ema.softmax(1)}), expected)


@pytest.mark.faithful("fst")
def test_hard_targets_weigh_only_where_the_teacher_is_sure(cast, batch):
    labelled = {**batch, "soft_label": TARGET}
    found = loss(Consistency(temperature=0, confidence=0.75), cast, labelled)
    plain = torch.nn.functional.cross_entropy(scores(cast.model, batch), TARGET.argmax(1), reduction="none")
    torch.testing.assert_close(found, plain * torch.tensor([0.0, 1.0, 0.0, 1.0]))


@pytest.mark.faithful("fst")
def test_of_pixels_the_share_of_sure_ones_weighs_the_whole_image(batch):
    torch.manual_seed(0)
    model = vit(width=16, depth=1, heads=2, patch=4, image_size=8)
    model.attach("dense_head", "dense_head", width=16, outputs=3, size=8, upscale=4)
    cast, target = Cast(model), torch.randn(4, 3, 8, 8).mul(4).softmax(1)
    found = loss(Consistency(temperature=0, confidence=0.9), cast, {**batch, "soft_label": target})
    each = torch.nn.functional.cross_entropy(scores(model, batch), target.argmax(1), reduction="none").mean((1, 2))
    share = (target.amax(1) >= 0.9).float().mean((1, 2))
    assert 0 < share.min() < share.max() < 1
    torch.testing.assert_close(found, each * share)


def test_squared_distance_and_soft_sharpening_by_hand(cast, batch):
    p = scores(cast.model, batch).softmax(1)
    sharp = TARGET.square() / TARGET.square().sum(1, keepdim=True)
    found = loss(Consistency(distance="squared", temperature=0.5), cast, {**batch, "soft_label": TARGET})
    torch.testing.assert_close(found, (p - sharp).square().sum(1))


def test_a_member_reads_its_own_view_and_gets_no_gradient(cast, batch):
    cast.freeze("other")
    found = loss(Consistency(target="other", view=Brighter()), cast, batch)
    target = scores(cast["other"], batch).softmax(1)
    expected = -(target * scores(cast.model, Brighter().view(batch, Step())).log_softmax(1)).sum(1)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(p.grad is None for p in cast["other"].parameters())
    assert cast.model.attached["head"].weight.grad is not None


def test_labelled_rows_count_nothing_where_only_unlabelled_ones_are_asked_for(cast, batch):
    labelled = {**batch, "soft_label": TARGET, "label": torch.tensor([2, -1, 0, -1])}
    every, some = (loss(Consistency(rows=rows), cast, labelled) for rows in ("all", "unlabeled"))
    torch.testing.assert_close(some, every * torch.tensor([0.0, 1.0, 0.0, 1.0]))


def test_says_who_could_give_the_target(cast, batch):
    with pytest.raises(ValueError, match="mean_teacher"):
        loss(Consistency(), cast, batch)


@pytest.mark.faithful("mosa-adapter")
def test_symmetric_divergence_is_the_mean_of_both_ways(cast, batch):
    """losses.py of MoSA: 1/2 (KL(p || q) + KL(q || p))."""
    log_p, log_q = scores(cast.model, batch).log_softmax(1), TARGET.log()
    kl = torch.nn.functional.kl_div
    expected = sum(kl(a, b, reduction="none", log_target=True).sum(1) for a, b in ((log_p, log_q), (log_q, log_p))) / 2
    found = loss(Consistency(distance="symmetric_kl"), cast, {**batch, "soft_label": TARGET})
    torch.testing.assert_close(found, expected)


@pytest.mark.faithful("mosa-adapter")
def test_both_forwards_of_a_model_that_draws_get_gradients(batch):
    torch.manual_seed(0)
    model = vit(width=16, depth=1, heads=2, patch=4, image_size=8)
    model.attach("head", "linear", width=16, outputs=3, zero=False)
    noisy, seen = torch.nn.Dropout(0.5), []
    model.attached["head"].register_forward_pre_hook(lambda module, args: noisy(args[0]))
    model.attached["head"].register_forward_hook(
        lambda module, args, output: seen.append(output) or output.retain_grad()
    )
    found = loss(Consistency(target="model", distance="symmetric_kl"), Cast(model), batch)
    assert (found > 0).all()
    found.sum().backward()
    assert len(seen) == 2
    torch.testing.assert_close(seen[0].grad.abs().sum(1) > 0, torch.ones(4, dtype=torch.bool))
    torch.testing.assert_close(seen[1].grad.abs().sum(1) > 0, torch.ones(4, dtype=torch.bool))
    agreed = loss(Consistency(target="model", distance="symmetric_kl"), Cast(_without_noise(model)), batch)
    torch.testing.assert_close(agreed, torch.zeros(4))


def _without_noise(model):
    model.attached["head"]._forward_pre_hooks.clear()
    return model
