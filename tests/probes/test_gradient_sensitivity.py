"""Shares of summed squared gradients, by place."""

import numpy as np
import pytest
import torch
from tiny_builds import tiny_build
from tiny_models import tiny_rows

from warmstart.data.dataset import Splits
from warmstart.engine.cast import Cast
from warmstart.engine.rows import Rows
from warmstart.engine.step import Step
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.probes.gradient_sensitivity import GradientSensitivity


@pytest.mark.faithful("spt")
def test_equals_squared_gradients_of_one_batch():
    model, data = tiny_build("vit"), tiny_rows("image")
    torch.manual_seed(0)
    model.attach("head", "linear", width=model.tower().module.config.hidden_size, outputs=2)
    torch.nn.init.normal_(model.attached["head"].weight)
    probe = GradientSensitivity(CrossEntropy(), share=0.1, batches=1, batch_size=8)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    report = probe.measure(Cast(model), Splits(data, data))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    model.requires_grad_(True).eval()
    CrossEntropy().loss(Cast(model), Rows(model, data).batch(np.arange(8)), Step())["cross_entropy"].mean().backward()
    squares = {n: p.grad.square() for n, p in model.backbone.named_parameters() if p.grad is not None}
    total = sum(s.sum() for s in squares.values()).item()
    first = sum(s.sum() for n, s in squares.items() if n.startswith("layers.0.")).item()
    everything = torch.cat([s.flatten() for s in squares.values()])
    everything = torch.cat(
        [everything, torch.zeros(sum(p.numel() for p in model.backbone.parameters()) - len(everything))]
    )
    vectors = sum(s.sum() for s in squares.values() if s.ndim < 2).item()
    assert report["block.0"] == pytest.approx(first / total, rel=1e-3)
    assert report["vectors"] == pytest.approx(vectors / total, rel=1e-3)
    top = everything.topk(int(np.ceil(0.1 * len(everything)))).values.sum().item()
    assert report["top"] == pytest.approx(top / total, rel=1e-3)
    places = [value for name, value in report.items() if name.startswith(("block.", "outside"))]
    assert sum(places) == pytest.approx(1, rel=1e-4)


def test_a_head_of_zeros_learns_meanwhile():
    data = tiny_rows("image")
    report = GradientSensitivity(CrossEntropy(), batches=2, batch_size=4).measure(
        Cast(tiny_build("vit")), Splits(data, data)
    )
    assert report["top"] > 0
    once = GradientSensitivity(CrossEntropy(), batches=1, batch_size=4)
    assert once.measure(Cast(tiny_build("vit")), Splits(data, data))["top"] == 0
