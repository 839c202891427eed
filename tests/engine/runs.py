"""Small training runs that several tests share."""

import torch
from tiny_models import tiny_rows

from warmstart.engine.cast import Cast
from warmstart.engine.learner import Learner, Settings
from warmstart.engine.rows import Rows
from warmstart.objectives.cross_entropy import CrossEntropy
from warmstart.tuners.full import Full


class Distilled(CrossEntropy):
    """Cross-entropy, and the distance to a moving average of the model itself."""

    def prepare(self, cast, data):
        super().prepare(cast, data)
        cast.average("teacher", 0.9)

    def loss(self, cast, batch, step):
        with torch.no_grad():
            target = cast["teacher"].encode(batch).pooled
        return super().loss(cast, batch, step) | {
            "distance": (cast.model.encode(batch).pooled - target).square().mean(1)
        }


def learner_for(model, *, dataset=None, objective=None, tuner=None, schedule=None, **settings) -> Learner:
    settings = {"steps": 6, "batch_size": 4, "learning_rate": 1e-2, "precision": "no", "seed": 1} | settings
    rows = Rows(model, tiny_rows(model.tower().modality) if dataset is None else dataset)
    objectives = [(objective or CrossEntropy(), 1.0)]
    return Learner(Cast(model), objectives, tuner or Full(), rows, Settings(**settings), schedule)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def with_dropout(model, rate: float = 0.2):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
    return model
