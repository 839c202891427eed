"""The sum of singular values of W at the entries that train, of one matrix at a step."""

import pytest
import torch
from tiny_builds import tiny_build

from warmstart.engine.cast import Cast
from warmstart.engine.step import Step
from warmstart.models.sparse import SparselyTuned
from warmstart.objectives.nuclear_norm import NuclearNorm


def sparse_model():
    """Two matrices of a small ViT with chosen entries; (model, their layers)."""
    model = tiny_build("vit")
    layers = []
    for path, layer in model.tower().linears()[-2:]:
        wrapped = SparselyTuned(layer.requires_grad_(False))
        wrapped.choose(torch.arange(0, layer.weight.numel(), 3))
        torch.nn.init.normal_(wrapped.values)
        model.tower().module.set_submodule(path, wrapped)
        layers.append(wrapped)
    return model, layers


def expected(layer):
    composed = layer.composed()["weight"].detach().flatten()
    masked = torch.zeros_like(composed)
    masked[layer.index] = composed[layer.index]
    return torch.linalg.svdvals(masked.view(len(layer.core.weight), -1)).sum()


@pytest.mark.faithful("sara")
def test_is_the_nuclear_norm_of_either_masked_matrix():
    model, layers = sparse_model()
    found = {NuclearNorm().loss(Cast(model), {}, Step(i, 40, 3))["nuclear_norm"].item() for i in range(40)}
    assert sorted(found) == pytest.approx(sorted(expected(layer).item() for layer in layers), rel=1e-4)


def test_descends_to_a_smaller_norm():
    model, layers = sparse_model()
    term = NuclearNorm().loss(Cast(model), {}, Step(0, 1, 3))["nuclear_norm"]
    term.backward()
    moved = [layer for layer in layers if layer.values.grad is not None]
    assert len(moved) == 1
    with torch.no_grad():
        moved[0].values -= 1e-3 * moved[0].values.grad
    assert expected(moved[0]) < term


def test_stopped_entries_and_small_matrices_do_not_count():
    model, layers = sparse_model()
    assert NuclearNorm(least=1000).loss(Cast(model), {}, Step())["nuclear_norm"] == 0
    for layer in layers:
        layer.choose(layer.index, stops=True)
        layer.stop(torch.ones_like(layer.index, dtype=torch.bool))
    assert NuclearNorm().loss(Cast(model), {}, Step())["nuclear_norm"] == 0


def test_says_what_it_needs():
    with pytest.raises(ValueError, match="sparse_update"):
        NuclearNorm().loss(Cast(tiny_build("vit")), {}, Step())
