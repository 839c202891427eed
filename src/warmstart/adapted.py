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
from .data.dataset import DataError, Dataset, decode_image
from .data.sources import TABLES
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
        """(N, C) class probabilities of a Dataset, of texts, or of images ((H, W, 3) uint8, bytes or paths)."""
        dataset = rows if isinstance(rows, Dataset) else as_dataset(rows, self.modality)
        if not len(dataset):
            return np.zeros((0, len(self.classes)), np.float32)
        features = Encoder(self.model, dataset, store=False).features().pooled()
        return self.scores_of(features).softmax(1).numpy()

    def predict(self, rows: Dataset | Sequence) -> list[tuple[str, float]]:
        """The most probable class of each row, and its probability."""
        found = self.probabilities(rows)
        return [(self.classes[i], float(p[i])) for i, p in zip(found.argmax(1), found, strict=True)]

    def save(self, folder: str | Path, *, backbone: bool = True) -> Path:
        """An ordinary transformers or peft folder, with the predictor's tensors and `adapted.json` beside it.

        backbone: False leaves out the model, which then must be saved there before the folder can be loaded.
        """
        from safetensors.torch import save_file

        from .engine.saving import save_model

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if backbone:
            save_model(self.model, folder)
        about = {"classes": list(self.classes), "modality": self.modality, "temperature": self.temperature}
        if self.fitted is not None:
            save_file(self.fitted.state(), folder / TENSORS)
            about |= {"predictor": self.fitted.predictor.name, "fitted": self.fitted.description()}
        (folder / FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
        return folder


def load(folder: str | Path, *, module: torch.nn.Module | None = None) -> Adapted:
    """What `Adapted.save` wrote, such as a comparison's `winner/`.

    module: the architecture, where the model was a plain nn.Module, which no library can rebuild.
    Raises ModelError, one line, where the folder is none or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from .engine.saving import load_saved

    folder = Path(folder)
    if not (folder / FILE).exists():
        inside = folder / "winner"
        advice = f"name {inside}" if (inside / FILE).exists() else "name the winner/ folder of a comparison"
        raise ModelError(f"{folder}: no {FILE} in it; {advice}")
    try:
        about = json.loads((folder / FILE).read_text(encoding="utf-8"))
        model = load_saved(folder, lambda spec: ingredients.build("tuners", spec), module)
        fitted = None
        if "predictor" in about:
            cls = ingredients.find("predictors", about["predictor"])
            fitted = restore(cls, about["fitted"], load_file(folder / TENSORS))
        return Adapted(model, tuple(about["classes"]), about["modality"], fitted, about["temperature"])
    except ModelError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"{folder}: damaged: {said}") from error


def as_dataset(rows: Sequence, modality: str) -> Dataset:
    """Literal inputs as a dataset: texts, or images as arrays, bytes or paths.

    Raises DataError where an image cannot be read.
    """
    if modality == "text":
        return Dataset(pa.table({"text": pa.array(map(str, rows), pa.string())}), {"text": "text"}, name="input")
    if modality != "image":
        raise ModelError(f"this model reads {modality}: give its rows as a Dataset, such as ws.data(...).test")
    data = [_image_bytes(row) for row in rows]
    return Dataset(pa.table({"image": pa.array(data, pa.binary())}), {"image": "image"}, name="input")


def read_inputs(inputs: Sequence[str], modality: str) -> list:
    """Inputs of the command line: literal texts, files of texts (a line each), files of images.

    Raises ModelError or DataError, naming the input, where a file does not exist or cannot be read.
    """
    found: list = []
    for item in inputs:
        file = _file(item)
        if modality == "text":
            found += [item] if file is None else _lines(file)
        elif file is None:
            raise ModelError(f"{item}: no such file; this model reads {modality}s")
        else:
            found.append(_readable(file) if modality == "image" else file)
    return found


def _file(item: str) -> Path | None:
    try:
        return Path(item) if Path(item).is_file() else None
    except (OSError, ValueError):
        # A text may be no possible name of a file.
        return None


def _lines(file: Path) -> list[str]:
    if file.suffix.lower() in TABLES:
        raise ModelError(
            f"{file}: a table; give its texts as a file with one on each line, or its rows to `predict` in Python"
        )
    try:
        return [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{file}: not a readable text file: {error}; this model reads text") from error


def _readable(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        decode_image(data)
    except (OSError, DataError) as error:
        raise DataError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    return data


def _image_bytes(row) -> bytes:
    if isinstance(row, bytes):
        return row
    if isinstance(row, np.ndarray):
        import io

        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(row).save(buffer, "PNG")
        return buffer.getvalue()
    return _readable(Path(row))
