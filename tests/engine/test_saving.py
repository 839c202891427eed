"""A saved model is an ordinary folder of transformers or peft, and comes back as it was."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, build_tuner, tiny_folder, tiny_rows

from warmstart import ingredients
from warmstart.engine.rows import Rows
from warmstart.engine.saving import is_saved, load_saved, save_model
from warmstart.models import Model, ModelError, load_model
from warmstart.models.libraries import import_transformers
from warmstart.models.wrapped import split_state

TUNERS = ingredients.names("tuners")
FAMILIES = ("bert", "gpt2", "vit", "clip", "mobilenet")


def changed(model: Model, spec) -> Model:
    """A head attached and a tuner applied, every weight that trains moved: what training leaves behind."""
    tower = model.tower()
    model.attach("head", "linear", width=features(model).shape[1], outputs=2)
    tuner = build_tuner(spec)
    tuner.apply(model)
    model.changes.append({"tune": tuner.describe()})
    torch.manual_seed(3)
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in tower.module.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1)
    return model.eval()


def inputs(model: Model) -> dict:
    return Rows(model, tiny_rows(model.tower().modality)).batch(np.arange(8))


@torch.no_grad()
def features(model: Model) -> torch.Tensor:
    return model.eval().encode(inputs(model)).pooled


@torch.no_grad()
def hidden(model: torch.nn.Module, tower_inputs: dict) -> torch.Tensor:
    """What plain transformers computes, of a dual encoder's image side."""
    model = model.eval()
    if "pixel_values" in tower_inputs and hasattr(model, "get_image_features"):
        return model.get_image_features(**tower_inputs).pooler_output
    return model(**tower_inputs).last_hidden_state


@pytest.mark.parametrize("name", TUNERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_comes_back_as_it_was_and_loads_without_us(tiny, tmp_path, name, family):
    import peft

    reason = ingredients.find("tuners", name).unfit(tiny(family))
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    model = changed(tiny(family), name)
    batch = inputs(model)[model.tower().modality]
    expected = hidden(model.backbone, batch)
    save_model(model, tmp_path / "first")
    folder = shutil.move(tmp_path / "first", tmp_path / "moved")

    again = load_saved(folder, build_tuner)
    assert torch.equal(features(again), features(model))
    assert torch.equal(again.attached["head"].weight, model.attached["head"].weight)
    assert again.source == model.source
    assert again.changes == model.changes
    assert {n for n, _ in again.named_parameters()} == {n for n, _ in model.named_parameters()}

    plain = import_transformers().AutoModel
    if split_state(model.backbone)[1]:
        loaded = peft.PeftModel.from_pretrained(plain.from_pretrained(folder / "backbone"), folder)
    else:
        loaded = plain.from_pretrained(folder)
    assert torch.equal(hidden(loaded, batch), expected)


def test_holds_no_pickle_and_names_every_tensor_once(tiny, tmp_path):
    save_model(changed(tiny("bert"), "lora"), tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    tensors = {"adapter_model.safetensors", "attached.safetensors", "backbone/model.safetensors"}
    assert {file for file in files if file.endswith(".safetensors")} == tensors
    assert not {file for file in files if file.endswith((".bin", ".pt", ".pkl", ".pth"))}
    assert {"adapter_config.json", "warmstart.json", "backbone/config.json"} <= files


def test_lora_is_pefts_own_type_and_ours_is_named(tiny, tmp_path):
    for name, kind in [("lora", "LORA"), ("scale_shift", "WARMSTART")]:
        save_model(changed(tiny("bert"), {name: {}}), tmp_path / name)
        config = json.loads((tmp_path / name / "adapter_config.json").read_text())
        assert config["peft_type"] == kind
        assert config["base_model_name_or_path"] == str(tmp_path / name / "backbone")
    assert config["tuners"] == [{"scale_shift": {}}]


def test_two_changes_at_once_come_back(tiny, tmp_path):
    import peft

    model = changed(changed(tiny("bert"), {"lora": {"rank": 2}}), {"scale_shift": {"noise": 0.02}})
    save_model(model, tmp_path)
    assert torch.equal(features(load_saved(tmp_path, build_tuner)), features(model))
    batch = inputs(model)["text"]
    base = import_transformers().AutoModel.from_pretrained(tmp_path / "backbone")
    loaded = peft.PeftModel.from_pretrained(base, tmp_path)
    assert torch.equal(hidden(loaded, batch), hidden(model.backbone, batch))


def test_a_folded_change_is_saved_as_plain_weights(tiny, tmp_path):
    model = changed(tiny("vit"), "lora")
    before = features(model)
    build_tuner("lora").fold(model)
    save_model(model, tmp_path)
    assert not (tmp_path / "adapter_config.json").exists()
    assert not [change for change in model.changes if "tune" in change]
    torch.testing.assert_close(features(load_saved(tmp_path, build_tuner)), before, rtol=1e-5, atol=1e-5)


def test_a_second_save_leaves_nothing_of_the_first(tiny, tmp_path):
    save_model(changed(tiny("bert"), "lora"), tmp_path)
    model = changed(tiny("bert"), "freeze")
    save_model(model, tmp_path)
    assert not (tmp_path / "backbone").exists()
    assert not (tmp_path / "adapter_model.safetensors").exists()
    assert torch.equal(features(load_saved(tmp_path, build_tuner)), features(model))


def test_a_loaded_model_can_be_tuned_and_saved_again(tiny, tmp_path):
    save_model(changed(tiny("bert"), "freeze"), tmp_path / "one")
    model = changed(load_saved(tmp_path / "one", build_tuner), "scale_shift")
    save_model(model, tmp_path / "two")
    assert torch.equal(features(load_saved(tmp_path / "two", build_tuner)), features(model))


def test_pooling_and_the_choice_of_towers_come_back(tiny, tmp_path):
    model = tiny("bert")
    model.tower().pool, model.tower().normalize = "last", True
    save_model(model, tmp_path / "bert")
    assert torch.equal(features(load_saved(tmp_path / "bert", build_tuner)), features(model))
    save_model(tiny("clip"), tmp_path / "clip")
    assert list(load_saved(tmp_path / "clip", build_tuner).towers) == ["image"]


def test_sentence_transformers_reads_the_folder(tiny, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = changed(tiny("bert"), "full")
    model.tower().normalize = False
    save_model(model, tmp_path)
    embeddings = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(SENTENCES)
    np.testing.assert_allclose(embeddings, features(model).numpy(), rtol=1e-4, atol=1e-5)


def test_image_settings_come_back(tiny, tmp_path):
    model = tiny("mobilenet")
    save_model(model, tmp_path)
    before, after = inputs(model)["image"], inputs(load_saved(tmp_path, build_tuner))["image"]
    assert torch.equal(before["pixel_values"], after["pixel_values"])
    processor = import_transformers().AutoImageProcessor.from_pretrained(tmp_path)
    assert (processor.size["height"], list(processor.image_mean)) == (32, [0.485, 0.456, 0.406])


def test_a_plain_module_comes_back_into_its_architecture(tmp_path):
    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1))

    model = changed(load_model(network()), "scale_shift")
    save_model(model, tmp_path)
    assert torch.equal(features(load_saved(tmp_path, build_tuner, network())), features(model))
    with pytest.raises(ModelError, match="plain module"):
        load_saved(tmp_path, build_tuner)


def test_a_folder_that_was_not_saved_is_refused(tmp_path):
    folder = tiny_folder("bert", tmp_path / "bert")
    assert not is_saved(folder)
    with pytest.raises(ModelError, match="no saved model"):
        load_saved(folder, build_tuner)


def test_tensors_that_do_not_fit_the_specification_are_refused(tiny, tmp_path):
    save_model(changed(tiny("bert"), "scale_shift"), tmp_path)
    specification = json.loads((tmp_path / "warmstart.json").read_text())
    specification["changes"] = [change for change in specification["changes"] if "tune" not in change]
    (tmp_path / "warmstart.json").write_text(json.dumps(specification))
    with pytest.raises(ModelError, match="does not fit"):
        load_saved(tmp_path, build_tuner)


# What `models.libraries` does for us, for a script that imports peft before warmstart beside a CPU build of torch.
MEND = """
import sys, torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms") if not torch.version.cuda else ():
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
LOAD = """
import sys, torch
{first}
{second}
from transformers import BertModel
model = PeftModel.from_pretrained(BertModel.from_pretrained(sys.argv[1] + "/backbone"), sys.argv[1]).eval()
out = model(input_ids=torch.arange(4, 12).view(2, 4)).last_hidden_state
merged = model.merge_and_unload()
again = merged(input_ids=torch.arange(4, 12).view(2, 4)).last_hidden_state
assert type(merged) is BertModel and set(merged.state_dict()) == set(BertModel(merged.config).state_dict())
assert torch.allclose(out, again, atol=1e-5), (out - again).abs().max()
print(out.double().sum().item())
"""
OURS, PEFTS = "import warmstart; assert 'peft' not in sys.modules", "from peft import PeftModel"


@pytest.mark.parametrize("ours_first", [True, False])
def test_peft_loads_our_type_whichever_is_imported_first(tiny, tmp_path, ours_first):
    model = changed(tiny("bert"), "scale_shift")
    save_model(model, tmp_path)
    first, second = (OURS, PEFTS) if ours_first else (MEND + PEFTS, "import warmstart")
    code = LOAD.format(first=first, second=second)
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    with torch.no_grad():
        expected = model.backbone(input_ids=torch.arange(4, 12).view(2, 4)).last_hidden_state
    assert float(run.stdout.split()[-1]) == pytest.approx(expected.double().sum().item(), abs=1e-4)


def test_peft_merges_changes_of_two_tuners_and_refuses_what_has_no_plain_weights(tiny, tmp_path):
    import peft

    def loaded(*tuners):
        model = tiny("bert")
        for tuner in tuners:
            model = changed(model, tuner)
        save_model(model, tmp_path)
        plain = import_transformers().AutoModel.from_pretrained(tmp_path / "backbone")
        return inputs(model)["text"], peft.PeftModel.from_pretrained(plain, tmp_path)

    batch, model = loaded("lora", "scale_shift")
    expected = hidden(model, batch)
    merged = model.merge_and_unload()
    assert set(merged.state_dict()) == set(tiny("bert").backbone.state_dict())
    torch.testing.assert_close(hidden(merged, batch), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="adapter adds has no plain weights"):
        loaded("adapter")[1].merge_and_unload()


def test_pefts_own_save_of_our_type_loads_again(tiny, tmp_path):
    import peft

    model = changed(tiny("bert"), "scale_shift")
    save_model(model, tmp_path / "ours")
    plain = import_transformers().AutoModel
    loaded = peft.PeftModel.from_pretrained(plain.from_pretrained(tmp_path / "ours/backbone"), tmp_path / "ours")
    loaded.save_pretrained(tmp_path / "theirs")
    again = peft.PeftModel.from_pretrained(plain.from_pretrained(tmp_path / "ours/backbone"), tmp_path / "theirs")
    batch = inputs(model)["text"]
    assert torch.equal(hidden(again, batch), hidden(model.backbone, batch))


def test_importing_us_imports_neither_torch_nor_peft():
    code = "import sys, warmstart; assert not {'torch', 'peft', 'transformers'} & set(sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
