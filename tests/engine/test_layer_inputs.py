import numpy as np
import torch
from tiny_models import tiny_rows

from warmstart.engine.layer_inputs import read_layer_inputs
from warmstart.engine.rows import Rows


def read(model, layers, rows=8) -> dict:
    found = {name: [] for name in layers}
    read_layer_inputs(
        model, Rows(model, tiny_rows(model.tower().modality)), layers, rows, lambda n, x: found[n].append(x)
    )
    return {name: torch.cat(parts) for name, parts in found.items()}


def test_padded_tokens_are_left_out(tiny):
    model = tiny("bert")
    found = read(model, {"query": model.backbone.encoder.layer[0].attention.self.query})["query"]
    batch = Rows(model, tiny_rows("text")).batch(np.arange(8))["text"]
    states = model.backbone.embeddings(input_ids=batch["input_ids"])
    torch.testing.assert_close(found, states[batch["attention_mask"].bool()])
    assert len(found) < batch["input_ids"].numel()


def test_windows_of_a_convolution_are_its_inputs(tiny):
    model = tiny("vit")
    layer = next(m for m in model.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    found = read(model, {"patch": layer}, rows=2)["patch"]
    assert found.shape == (2 * 16, 3 * 4 * 4)
    batch = Rows(model, tiny_rows("image")).batch(np.array([0, 7]))["image"]["pixel_values"]
    expected = layer(batch).flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(found @ layer.weight.flatten(1).T + layer.bias, expected, rtol=1e-4, atol=1e-5)


def test_the_model_trains_on_as_before_and_keeps_no_hooks(tiny):
    model = tiny("bert").train()
    layer = model.backbone.encoder.layer[0].attention.self.query
    read(model, {"query": layer})
    assert model.training
    assert not layer._forward_pre_hooks
