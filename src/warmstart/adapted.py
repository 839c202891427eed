"""What a user gets back: a model adapted to a task, that predicts, saves and loads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from . import ingredients
from .data.dataset import Dataset
from .engine.examples import Examples
from .engine.features import Encoder
from .engine.search import Fitted, restore
from .models import Model, ModelError

FILE = "adapted.json"
TENSORS = "predictor.safetensors"


@dataclass
class Adapted:
    """A model with what turns its features into class scores: a fitted predictor, or the attached `head`.

    classes: class names in the order of the scores. fitted: None where the head answers.
    temperature: divides the scores, so that their softmax is calibrated.
    """

    model: Model
    classes: tuple[str, ...]
    modality: str
    fitted: Fitted | None = None
    temperature: float = 1.0

    def scores_of(self, features: Tensor) -> Tensor:
        """(N, D) pooled features -> (N, C) logits."""
        if self.fitted is not None:
            return self.fitted.scores(Examples(features=features))
        with torch.inference_mode():
            head = self.model.attached["head"]
            return head(features.to(self.model.device)).float().cpu() / self.temperature

    def probabilities(self, rows: Dataset | Sequence) -> np.ndarray:
        """(N, C) class probabilities of a Dataset, of texts, or of images ((H, W, 3) uint8 or paths)."""
        dataset = rows if isinstance(rows, Dataset) else as_dataset(rows, self.modality)
        features = Encoder(self.model, dataset, store=False).features().pooled()
        return self.scores_of(features).softmax(1).numpy()

    def predict(self, rows: Dataset | Sequence) -> list[tuple[str, float]]:
        """The most probable class of each row, and its probability."""
        found = self.probabilities(rows)
        return [(self.classes[i], float(p[i])) for i, p in zip(found.argmax(1), found, strict=True)]

    def save(self, folder: str | Path) -> Path:
        """An ordinary transformers or peft folder, with the predictor's tensors and `adapted.json` beside it."""
        from safetensors.torch import save_file

        from .engine.saving import save_model

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, folder)
        about = {"classes": list(self.classes), "modality": self.modality, "temperature": self.temperature}
        if self.fitted is not None:
            state = {name: tensor.contiguous() for name, tensor in self.fitted.state().items()}
            save_file(state, folder / TENSORS)
            about |= {"predictor": self.fitted.predictor.name, "fitted": self.fitted.description()}
        (folder / FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False))
        return folder


def load(folder: str | Path) -> Adapted:
    """What `Adapted.save` wrote, such as a comparison's `winner/`. Raises ModelError where it is none."""
    from safetensors.torch import load_file

    from .engine.saving import load_saved

    folder = Path(folder)
    if not (folder / FILE).exists():
        raise ModelError(f"{folder}: no {FILE} in it; name the winner/ folder of a comparison")
    about = json.loads((folder / FILE).read_text())
    model = load_saved(folder, lambda spec: ingredients.build("tuners", spec))
    fitted = None
    if "predictor" in about:
        cls = ingredients.find("predictors", about["predictor"])
        fitted = restore(cls, about["fitted"], load_file(folder / TENSORS))
    return Adapted(model, tuple(about["classes"]), about["modality"], fitted, about["temperature"])


def as_dataset(rows: Sequence, modality: str) -> Dataset:
    """Literal inputs as a dataset: texts, or images as arrays, bytes or paths."""
    if modality == "text":
        return Dataset(pa.table({"text": [str(row) for row in rows]}), {"text": "text"}, name="input")
    data = [_image_bytes(row) for row in rows]
    return Dataset(pa.table({"image": pa.array(data, pa.binary())}), {"image": "image"}, name="input")


def read_inputs(inputs: Sequence[str], modality: str) -> list:
    """Inputs of the command line: literal texts, files of texts (a line each), files of images.

    Raises ModelError where an image file does not exist.
    """
    found: list = []
    for item in inputs:
        path = Path(item)
        is_file = len(item) < 256 and path.is_file()
        if modality == "text":
            found += [line for line in path.read_text().splitlines() if line.strip()] if is_file else [item]
        elif is_file:
            found.append(path)
        else:
            raise ModelError(f"{item}: no such image file; this model reads images")
    return found


def _image_bytes(row) -> bytes:
    if isinstance(row, bytes):
        return row
    if isinstance(row, np.ndarray):
        import io

        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(row).save(buffer, "PNG")
        return buffer.getvalue()
    return Path(row).read_bytes()
