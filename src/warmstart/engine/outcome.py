"""What a finished training left: its weights and its trace, so that a run need not train again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from ..models import Model
from .atomic import write_atomic
from .checkpoint import FILE as TRAINING
from .loop import Trace
from .snapshot import changing

FILE = "finished.safetensors"


def save_outcome(folder: Path, model: Model, trace: Trace) -> None:
    """Trainable weights and buffers; all else is as the same structural changes make it again.

    The checkpoint of the training, which is done, is removed.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in changing(model).items()}
    write_atomic(folder / FILE, save(tensors, {"trace": json.dumps(dataclasses.asdict(trace))}))
    (folder / TRAINING).unlink(missing_ok=True)


@torch.no_grad()
def load_outcome(folder: Path, model: Model) -> Trace | None:
    """Give the model the weights of a finished training, and return its trace; None where there is none.

    The model must already have the structural changes of that training.
    """
    from safetensors import safe_open

    path = folder / FILE
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        for name, tensor in changing(model).items():
            tensor.copy_(file.get_tensor(name))
        saved = json.loads(file.metadata()["trace"])
    model.eval()
    return Trace(**saved | {"validations": [tuple(pair) for pair in saved["validations"]]})
