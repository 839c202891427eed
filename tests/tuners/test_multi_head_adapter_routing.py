"""Tasks that mix skills block by block: the formula, peft's Poly, what trains, averaging and folding."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.data.dataset import Dataset
from warmstart.engine.rows import Rows
from warmstart.models import ModelError
from warmstart.models.reading import reading
from warmstart.tuners.multi_head_adapter_routing import MultiHeadAdapterRouting

QUERY = ("attention.query",)


def rows(modality="text", tasks=(0, 1, 2, 0, 1, 2, 0, 1)) -> Dataset:
    plain = tiny_rows(modality)
    table = plain.table.append_column("task", pa.array(tasks, pa.int64()))
    return Dataset(table, {**plain.roles, "task": "number"}, plain.classes, "tiny")


def batch_for(model):
    return Rows(model, rows(model.tower().modality)).batch(np.arange(8))


def moved(model, **arguments):
    torch.manual_seed(0)
    MultiHeadAdapterRouting(**{"tasks": 3, "skills": 3, "heads": 4, "rank": 2, "targets": QUERY} | arguments).apply(
        model
    )
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def layer_of(model):
    return model.tower().parts("block.0.attention.query")[0].module


@pytest.mark.faithful("mhr")
@torch.no_grad()
def test_each_block_mixes_the_skills_with_the_shares_of_the_rows_task(tiny):
    model = moved(tiny("bert"), alpha=6, routing_rate=1.0)
    layer, x, tasks = layer_of(model), torch.randn(3, 5, 16), torch.tensor([2, 0, 2])
    with reading({"task": tasks}):
        found = layer(x)
    for row, task in enumerate(tasks.tolist()):
        shares = layer.routing[task].sigmoid()
        shares = shares / shares.sum(1, keepdim=True)
        down = torch.cat([sum(shares[q, k] * layer.down[q, k] for k in range(3)) for q in range(4)])
        up = torch.cat([sum(shares[q, k] * layer.up[q, k] for k in range(3)) for q in range(4)], dim=1)
        torch.testing.assert_close(found[row], layer.base_layer(x[row]) + 3 * x[row] @ down @ up)


@pytest.mark.faithful("mhr")
@pytest.mark.parametrize("heads", [1, 4])
@torch.no_grad()
def test_equals_pefts_poly(tiny, heads):
    """Poly with one head; with several, peft's `n_splits`."""
    from warmstart.models.libraries import import_transformers

    import_transformers()
    from peft import PolyConfig
    from peft.tuners.poly.layer import Linear

    layer = layer_of(moved(tiny("bert"), heads=heads, alpha=1, routing_rate=1.0))
    config = PolyConfig(r=2, n_tasks=3, n_skills=3, n_splits=heads)
    theirs = Linear(layer.base_layer, "default", poly_config=config).eval()
    theirs.poly_lora_A["default"].copy_(layer.down)
    theirs.poly_lora_B["default"].copy_(layer.up)
    theirs.poly_router["default"].module_logits.copy_(layer.routing.flatten(1))
    x, tasks = torch.randn(4, 5, 16), torch.tensor([0, 2, 1, 1])
    with reading({"task": tasks}):
        torch.testing.assert_close(layer(x), theirs(x, task_ids=tasks))


def trains(model):
    return {name.rpartition(".")[2] for name, _ in model.trainable()}


@pytest.mark.faithful("mhr")
def test_routing_alone_trains_few_numbers_and_averaging_leaves_one_lora(tiny):
    model = moved(tiny("bert"))
    assert trains(model) == {"routing", "down", "up"}
    numbers = {"tasks": 3, "skills": 3, "heads": 4, "rank": 2, "targets": QUERY}
    MultiHeadAdapterRouting(tune="routing", **numbers).apply(model)
    assert trains(model) == {"routing"}
    assert sum(parameter.numel() for _, parameter in model.trainable()) == 3 * (3 * 4 * 3)
    layer = layer_of(model)
    expected = [parameter.mean(1, keepdim=True) for parameter in (layer.down, layer.up)]
    MultiHeadAdapterRouting(tune="average", **numbers).apply(model)
    assert trains(model) == {"down", "up"}
    assert sum(parameter.numel() for _, parameter in model.trainable()) == 3 * 2 * (16 + 16)
    for found, mean in zip((layer.down, layer.up), expected, strict=True):
        torch.testing.assert_close(found.detach(), mean.detach())
    model.encode(Rows(model, tiny_rows("text")).batch(np.arange(8)))


def test_only_the_batchs_tasks_get_a_gradient_in_the_routing(tiny):
    model = moved(tiny("bert"), tasks=5)
    model.encode(batch_for(model)).pooled.square().sum().backward()
    reached = layer_of(model).routing.grad.abs().sum((1, 2)) > 0
    assert reached.tolist() == [True, True, True, False, False]


def test_a_row_of_an_unknown_task_is_refused(tiny):
    model = moved(tiny("bert"), tasks=2)
    with pytest.raises(ModelError, match="none of the 2 tasks"):
        model.encode(batch_for(model))
    with pytest.raises(ModelError, match="reads the column 'task'"):
        model.encode(Rows(model, tiny_rows("text")).batch(np.arange(8)))


@torch.no_grad()
def test_folds_once_one_weight_serves_all_tasks(tiny):
    model = moved(tiny("gpt2"))
    tuner = MultiHeadAdapterRouting(tasks=3, skills=3, heads=4, rank=2, targets=QUERY)
    assert not tuner.folds
    with pytest.raises(ModelError, match="average them first"):
        tuner.fold(model)
    averaged = MultiHeadAdapterRouting(tasks=3, skills=3, heads=4, rank=2, targets=QUERY, tune="average")
    averaged.apply(model)
    before = model.encode(batch_for(model)).pooled
    assert averaged.folds
    averaged.fold(model)
    torch.testing.assert_close(model.encode(batch_for(model)).pooled, before, rtol=1e-4, atol=1e-5)
    assert type(layer_of(model)).__name__ == "Conv1D"


def test_the_routing_rate_scales_the_learning_rate_of_the_routing(tiny):
    """One step of Adam moves every logit by the rate times the routing rate."""
    model = moved(tiny("bert"), routing_rate=7.0)
    layer = layer_of(model)
    before = layer.speed * layer.routing.detach().clone()
    optimizer = torch.optim.AdamW([layer.routing], lr=0.01, weight_decay=0)
    model.encode(batch_for(model)).pooled.square().sum().backward()
    optimizer.step()
    torch.testing.assert_close((layer.speed * layer.routing - before).abs().max().item(), 0.07, rtol=1e-3, atol=0)


def test_heads_must_divide_the_layer(tiny):
    with pytest.raises(ModelError, match="heads do not divide"):
        moved(tiny("bert"), heads=5)
    with pytest.raises(ValueError, match="all, routing or average"):
        MultiHeadAdapterRouting(tune="mean")
