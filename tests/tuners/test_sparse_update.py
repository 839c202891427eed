"""Which entries are chosen, that they alone train, and that files, counts and folding are those of the entries."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_rows

from warmstart import ingredients
from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.loop import train
from warmstart.engine.rows import Rows
from warmstart.engine.saving import load_saved, save_model
from warmstart.engine.step import Step
from warmstart.models import count
from warmstart.models.sparse import sparse_layers
from warmstart.models.wrapped import split_state
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.tuners.sparse_update import SparseUpdate


def learner_for(model, tuner, steps=3, seed=1, **settings):
    settings = Settings(
        **{"batch_size": 4, "learning_rate": 1e-2, "precision": "no"} | settings, steps=steps, seed=seed
    )
    rows = Rows(model, tiny_rows(model.tower().modality))
    torch.manual_seed(0)
    return Learner(Cast(model), [(CrossEntropy(), 1.0)], tuner, rows, settings)


def entries(model) -> set[tuple[str, int]]:
    return {(path, i) for path, layer in sparse_layers(model.backbone) for i in layer.index.tolist()}


def flat(layer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in layer.core.parameters(recurse=False)])


def in_blocks(model):
    """(path, all weights one behind the other) of the layers that have candidates."""
    return {path: flat(layer) for path, layer in sparse_layers(model.backbone)}


@torch.no_grad()
def features(model) -> torch.Tensor:
    rows = Rows(model, tiny_rows(model.tower().modality))
    return model.eval().encode(rows.batch(np.arange(8))).pooled


@pytest.mark.faithful("sara")
def test_magnitude_takes_what_lies_below_the_threshold_or_the_smallest(tiny):
    model = learner_for(tiny("bert"), SparseUpdate(by="magnitude", threshold=0.02)).model
    weights = in_blocks(model)
    expected = {(path, i) for path, w in weights.items() for i in (w.abs() < 0.02).nonzero()[:, 0].tolist()}
    assert entries(model) == expected
    model = learner_for(tiny("bert"), SparseUpdate(by="magnitude", count=50)).model
    limit = torch.cat(list(weights.values())).abs().kthvalue(50).values
    assert entries(model) == {(p, i) for p, w in weights.items() for i in (w.abs() <= limit).nonzero()[:, 0].tolist()}


@pytest.mark.faithful("spt")
def test_sensitivity_takes_the_largest_summed_squared_gradients(tiny):
    tuner = SparseUpdate(count=30, batches=3)
    model = tiny("vit")
    model.attach("head", "linear", width=16, outputs=2)
    torch.nn.init.normal_(model.attached["head"].weight)
    model = learner_for(model, tuner, learning_rate=0.0).model
    twin = tiny("vit")
    twin.attach("head", "linear", width=16, outputs=2)
    twin.attached["head"].load_state_dict(model.attached["head"].state_dict())
    learner = learner_for(twin, ingredients.build("tuners", "full"))
    found = {}
    for index in range(3):
        batch = learner.batch(index)
        loss = sum(term.mean() for term in learner.losses(batch, Step(index)).values())
        names = {name: p for name, p in twin.named_parameters() if name.startswith("backbone.layers.")}
        for (name, _), g in zip(names.items(), torch.autograd.grad(loss, names.values()), strict=True):
            found[name] = found.get(name, 0) + g.square()
    limit = torch.cat([s.flatten() for s in found.values()]).topk(30).values[-1]
    expected = set()
    for path in sorted({name.rpartition(".")[0] for name in found}):
        layer = twin.get_submodule(path)
        s = torch.cat([found[f"{path}.{name}"].flatten() for name, _ in layer.named_parameters(recurse=False)])
        expected |= {(path.removeprefix("backbone."), i) for i in (s >= limit).nonzero()[:, 0].tolist()}
    assert entries(model) == expected


@pytest.mark.faithful("lt-sft")
def test_change_takes_what_a_dense_training_changed_most_and_takes_it_back(tiny):
    model = tiny("bert")
    start = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    model = learner_for(model, SparseUpdate(by="change", count=40, steps=4)).model
    assert not model.attached["head"].weight.any()
    plain = split_state(model.backbone)[0]
    assert all(torch.equal(plain[name], tensor) for name, tensor in start.items())
    twin = learner_for(tiny("bert"), ingredients.build("tuners", "full"), steps=4)
    for name, parameter in twin.model.named_parameters():
        parameter.requires_grad_(".encoder." in name or "attached" in name)
    twin.start_optimizers()
    train(twin)
    ends = dict(twin.model.backbone.named_parameters())
    changes = {name: (ends[name] - start[name]).abs() for name in start if name.startswith("encoder.")}
    limit = torch.cat([c.flatten() for c in changes.values()]).topk(40).values[-1]
    expected = sum(int((c >= limit).sum()) for c in changes.values())
    assert len(entries(model)) == expected == 40
    for path, layer in sparse_layers(model.backbone):
        both = [changes[f"{path}.{name}"].flatten() for name, _ in layer.core.named_parameters(recurse=False)]
        assert (torch.cat(both)[layer.index] >= limit).all()


def test_random_follows_the_seed_alone(tiny):
    one, same, other = (
        entries(learner_for(tiny("bert"), SparseUpdate(by="random", count=50), seed=seed).model) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len(one) == 50


@pytest.mark.parametrize(
    ("family", "by"), [("bert", "sensitivity"), ("gpt2", "change"), ("vit", "magnitude"), ("mobilenet", "random")]
)
def test_what_trains_is_the_entries_and_the_head(tiny, family, by):
    learner = learner_for(tiny(family), SparseUpdate(by=by, count=60, steps=2, batches=2))
    model = learner.model
    assert count([p for name, p in model.trainable() if not name.startswith("attached.")]) == 60
    assert len(entries(model)) == 60
    before = {name: tensor.clone() for name, tensor in split_state(model.backbone)[0].items() if "running" not in name}
    train(learner)
    after = split_state(model.backbone)[0]
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if "num_batches" not in name)
    assert any(layer.values.any() for _, layer in sparse_layers(model.backbone))


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        ("bert", {"by": "magnitude", "again": 0.5}),
        ("gpt2", {"rank": 2, "share": 0.2}),
        ("clip", {"rank": 2, "share": 0.2}),
        ("mobilenet", {}),
    ],
)
def test_comes_back_from_a_file_and_folds(tiny, tmp_path, family, arguments):
    tuner = SparseUpdate(**arguments, outside=True)
    learner = learner_for(tiny(family), tuner)
    train(learner)
    model = learner.model
    save_model(model, tmp_path)
    again = load_saved(tmp_path, lambda spec: ingredients.build("tuners", spec))
    expected = features(model)
    assert torch.equal(features(again), expected)
    assert count([p for _, p in again.trainable()]) == count([p for _, p in model.trainable()])
    tuner.fold(again)
    assert not sparse_layers(again.backbone)
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(features(again), expected, rtol=0, atol=1e-5 * scale)


def test_the_file_is_that_of_the_entries(tiny, tmp_path):
    from safetensors.torch import load_file

    model = learner_for(tiny("bert"), SparseUpdate(by="random", count=60)).model
    save_model(model, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) == 2 * 60


def test_kinds_and_places_that_may_be_chosen(tiny):
    def chosen(**arguments):
        model = learner_for(tiny("vit"), SparseUpdate(by="random", share=1.0, **arguments)).model
        return len(entries(model)), {path for path, _ in entries(model)}

    block = 4 * 16 * 16 + 2 * 16 * 24
    assert chosen(kinds=["matrix"])[0] == 3 * block
    assert chosen(kinds=["bias"])[0] == 3 * (4 * 16 + 24 + 16 + 2 * 16)
    assert chosen(kinds=["norm"])[0] == 3 * 2 * 16
    assert {"layernorm", "embeddings.patch_embeddings.projection"} <= chosen(outside=True)[1]


def test_an_embedding_that_a_language_head_shares_is_left_alone(tiny):
    paths = {
        path for path, _ in entries(learner_for(tiny("bert"), SparseUpdate(by="random", share=1.0, outside=True)).model)
    }
    assert "embeddings.word_embeddings" not in paths
    assert "embeddings.position_embeddings" in paths


@pytest.mark.faithful("sara")
def test_entries_that_grew_beyond_the_threshold_stop_halfway(tiny):
    tuner = SparseUpdate(by="magnitude", threshold=0.05, again=0.5, kinds=["matrix"])
    learner = learner_for(tiny("bert"), tuner, steps=4, learning_rate=0.03)
    layers = [layer for _, layer in sparse_layers(learner.model.backbone)]
    for index in range(2):
        learner.advance(Step(index, 4, 1))
    now = [(layer.base_entries() + layer.changes()).abs() > 0.05 for layer in layers]
    assert [layer.stopped.tolist() for layer in layers] == [one.tolist() for one in now]
    assert 0 < sum(int(one.sum()) for one in now) < sum(len(one) for one in now)
    before = [layer.changes().detach().clone() for layer in layers]
    for index in range(2, 4):
        learner.advance(Step(index, 4, 1))
    for layer, stopped, value in zip(layers, now, before, strict=True):
        assert torch.equal(layer.changes()[stopped], value[stopped])
    moved = torch.cat(
        [(layer.changes() != value)[~stopped] for layer, stopped, value in zip(layers, now, before, strict=True)]
    )
    assert moved.any()


@pytest.mark.faithful("lt-sft")
def test_the_pull_adds_the_gradient_of_the_mean_distance(tiny):
    found = []
    for pull in (0.0, 7.0):
        learner = learner_for(tiny("bert"), SparseUpdate(by="random", count=50, pull=pull), clip=None)
        with torch.no_grad():
            for _, layer in sparse_layers(learner.model.backbone):
                layer.values.copy_(torch.linspace(-1, 1, len(layer.values)))
        learner.differentiate(learner.batch(0), Step(0, 3, 1))
        layers = [layer for _, layer in sparse_layers(learner.model.backbone) if len(layer.index)]
        found.append(torch.cat([layer.values.grad for layer in layers]))
        signs = torch.cat([layer.values.detach().sign() for layer in layers])
    candidates = sum(len(w) for w in in_blocks(learner.model).values())
    torch.testing.assert_close(found[1] - found[0], 7.0 / candidates * signs, rtol=1e-3, atol=1e-7)


def test_chosen_entries_go_on_in_a_second_training(tiny):
    learner = learner_for(tiny("bert"), SparseUpdate(by="random", count=50))
    train(learner)
    model = learner.model
    before, expected = entries(model), features(model)
    again = learner_for(model, SparseUpdate(by="random", count=50), seed=9)
    assert entries(again.model) == before
    assert torch.equal(features(again.model), expected)


@pytest.mark.faithful("spt")
def test_matrices_with_many_entries_get_a_low_rank_matrix_within_the_budget(tiny):
    learner = learner_for(tiny("vit"), SparseUpdate(count=600, rank=2, ratio=10))
    model, layers = learner.model, [layer for _, layer in sparse_layers(learner.model.backbone)]
    ranked = [layer for layer in layers if len(layer.down)]
    assert ranked
    assert all(not (layer.index < layer.core.weight.numel()).any() for layer in ranked)
    spent = count([p for name, p in model.trainable() if not name.startswith("attached.")])
    assert spent == sum(len(one.index) + one.up.numel() + one.down.numel() for one in layers) <= 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "luck"}, "by is one of"),
        ({"kinds": ["weights"]}, "kinds are some of"),
        ({"share": 0.0}, "share lies in"),
        ({"threshold": 0.1}, "belong to by: magnitude"),
    ],
)
def test_refuses_what_it_cannot_mean(arguments, message):
    with pytest.raises(ValueError, match=message):
        SparseUpdate(**arguments)
