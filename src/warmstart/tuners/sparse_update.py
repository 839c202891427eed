"""A chosen set of single entries of the weights trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..engine.learner import Learner
from ..engine.rows import Rows
from ..engine.sensitivity import squared_gradients
from ..engine.sparsity import allocate, top_entries
from ..engine.step import Step
from ..models import Model, Tower
from ..models.sparse import Candidate, SparselyTuned, candidates, own_wrapper, unshared_embeddings
from . import Tuner

_KINDS = ("matrix", "norm", "bias")
_RULES = ("sensitivity", "change", "magnitude", "random")


class SparseUpdate(Tuner):
    """Sparse fine-tuning: k entries of the pretrained weights train, and the head; all others stay.

    theta = theta_0 + scatter(v at M),  v (k,) starts at zero;  M, of equal score the first entries:
    sensitivity: largest sum of g^2 over `batches` batches, see `engine.sensitivity` (SPT)
    change: largest |theta_1 - theta_0| after `steps` updates of all candidates, which are then taken back (LT-SFT)
    magnitude: |theta_0| < `threshold`, or the smallest (SaRA);  random: drawn evenly by the run's seed

    share: k over the number of candidates. count: k, in its place. threshold: of `magnitude`, in place of both.
    kinds: what may be chosen: `matrix` (weights of linear layers, convolutions and embeddings), `norm` (weights of
        norms), `bias`. outside: also outside the blocks (embeddings, final norm); on an encoder whose blocks are not
        known always. An embedding that a language head shares is left alone.
    steps: of `change`; None for as many as the training has. pull: p, adds p * mean |theta - theta_0| over the
        candidates to the loss, in both phases.
    again: of `magnitude`, the share of the training after which entries that have grown beyond the threshold stop.
    rank: r gives matrices with k_W >= r (rows + columns) / ratio chosen entries a low-rank matrix of that rank in their
        place, and trains norms and biases with a fifth of their entries chosen as a whole. So many entries are then
        chosen that all that trains comes closest to k, and never above it. None: entries alone.
    Raises ValueError for an unknown rule or kind, or a share outside (0, 1].
    Source: SPT, He et al. 2023 (arXiv 2303.08566): 16 batches, rank 8, ratio 10, under 1 % of a ViT-B, AdamW 1e-3;
    LT-SFT, Ansell et al. 2022 (arXiv 2110.07560): 4 to 8 %, pull 0.1; SaRA, Hu et al. 2024 (arXiv 2409.06633):
    threshold 2e-3, rate 1e-3 exp(-350 threshold), again 0.5.
    Differs from the papers: SPT: the class token stays frozen, and the head learns while sensitivity is measured.
    LT-SFT: the mean of the pull is over candidates in both phases. SaRA: entries start at their own values, where its
    code takes their absolute ones.
    """

    learning_rates = (3e-3, 1e-3)

    def __init__(
        self,
        by: Literal["sensitivity", "change", "magnitude", "random"] = "sensitivity",
        share: float = 0.05,
        count: int | None = None,
        threshold: float | None = None,
        kinds: Sequence[str] = _KINDS,
        outside: bool = False,
        batches: int = 16,
        steps: int | None = None,
        pull: float = 0.0,
        again: float | None = None,
        rank: int | None = None,
        ratio: float = 10.0,
    ):
        if by not in _RULES:
            raise ValueError(f"by is one of {', '.join(_RULES)}, not {by!r}")
        if not kinds or not set(kinds) <= set(_KINDS):
            raise ValueError(f"kinds are some of {', '.join(_KINDS)}, not {', '.join(kinds) or 'none'}")
        if not 0 < share <= 1 or (count is not None and count < 1):
            raise ValueError(f"share lies in (0, 1] and count is 1 or more, not {share} and {count}")
        if by != "magnitude" and (threshold is not None or again is not None):
            raise ValueError(f"threshold and again belong to by: magnitude, not {by}")
        self.by, self.share, self.count, self.threshold = by, share, count, threshold
        self.kinds, self.outside, self.batches, self.steps = tuple(kinds), outside, batches, steps
        self.pull, self.again, self.rank, self.ratio = pull, again, rank, ratio

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Entries that were chosen before go on training."""
        model.freeze()
        for tower, path, layer in self._layers(model):
            if not isinstance(layer, SparselyTuned):
                layer = SparselyTuned(layer)
                tower.module.set_submodule(path, layer)
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(True)

    def choose(self, learner: Learner) -> None:
        """Entries that the model has from before stay chosen."""
        layers = [layer for _, _, layer in self._layers(learner.model)]
        tensors = [found for layer in layers for found in candidates(layer, self.kinds)]
        if not any(layer.is_changed for layer in layers):
            self._place(layers, tensors, self._scores(learner, tensors))
        for layer in layers:
            # A new parameter, without the pull of a training before this one.
            layer.values = nn.Parameter(layer.values.detach().clone())
            if self.pull:
                rate = self.pull / (sum(one.size for one in tensors) * learner.settings.accumulate)
                layer.values.register_hook(_towards(layer.values, torch.zeros_like(layer.values), rate))

    def _scores(self, learner: Learner, tensors: list[Candidate]) -> list[Tensor]:
        """A number for every entry of every candidate; the largest are chosen."""
        weights = [one.weight for one in tensors]
        if self.by == "sensitivity":
            return squared_gradients(learner, weights, self.batches)
        if self.by == "change":
            return self._changes(learner, weights)
        if self.by == "magnitude":
            return [-weight.detach().abs() for weight in weights]
        generator = torch.Generator().manual_seed(learner.settings.seed)
        return [torch.rand(weight.shape, generator=generator).to(weight.device) for weight in weights]

    def _changes(self, learner: Learner, weights: list[nn.Parameter]) -> list[Tensor]:
        before = [weight.detach().clone() for weight in weights]
        rate = self.pull / (sum(weight.numel() for weight in weights) * learner.settings.accumulate)
        hooks = []
        for weight, start in zip(weights, before, strict=True):
            hooks.append(weight.requires_grad_(True).register_hook(_towards(weight, start, rate)))
        learner.start_optimizers()
        total = self.steps or learner.settings.steps
        with learner.trial():
            learner.training(True)
            for index in range(total):
                learner.advance(Step(index, total, learner.settings.seed))
            found = [(weight.detach() - start).abs() for weight, start in zip(weights, before, strict=True)]
        for weight, hook in zip(weights, hooks, strict=True):
            hook.remove()
            weight.grad = None
            weight.requires_grad_(False)
        return found

    def _place(self, layers: list[SparselyTuned], tensors: list[Candidate], scores: list[Tensor]) -> None:
        flat = torch.cat([score.flatten() for score in scores])
        sizes = [one.size for one in tensors]
        budget = min(self.count if self.count is not None else max(round(self.share * len(flat)), 1), len(flat))
        low_rank: list[int] = []
        if self.threshold is not None:
            chosen = top_entries(flat, sizes, int((flat > -self.threshold).sum()))
        elif self.rank is None:
            chosen = top_entries(flat, sizes, budget)
        else:
            matrices = [one.low_rank_size(self.rank) for one in tensors]
            chosen, low_rank = allocate(flat, sizes, matrices, budget, self.ratio)
        for layer in layers:
            mine = [i for i, one in enumerate(tensors) if one.layer is layer]
            index = torch.cat([tensors[i].start + chosen[i] for i in mine])
            rank = self.rank if any(i in low_rank for i in mine) else 0
            layer.choose(index.to(layer.index.device), rank or 0, stops=self.again is not None)

    @torch.no_grad()
    def after_update(self, model: Model, step: Step) -> None:
        if self.again is None or step.index + 1 != round(self.again * step.total):
            return
        layers = [layer for _, _, layer in self._layers(model) if len(layer.stopped)]
        bases = [layer.base_entries() for layer in layers]
        limit = self.threshold
        if limit is None:
            limit = max(float(base.abs().max()) for base in bases if len(base))
        for layer, base in zip(layers, bases, strict=True):
            layer.stop((base + layer.changes()).abs() > limit)

    @torch.no_grad()
    def fold(self, model: Model) -> None:
        for tower, path, layer in self._layers(model):
            if isinstance(layer, SparselyTuned):
                for name, value in layer.composed().items():
                    getattr(layer.core, name).copy_(value)
                tower.module.set_submodule(path, layer.base_layer)
        model.forget({"tune": self.describe()})

    def _layers(self, model: Model) -> Iterator[tuple[Tower, str, nn.Module]]:
        """(tower, path, layer) of what holds candidates; where a layer is wrapped, of our own wrapper, if any."""
        for tower in {id(tower.module): tower for tower in model.towers.values()}.values():
            inside = f"{tower.layout.blocks}." if tower.depth else ""
            for path, layer in [*tower.linears(), *tower.norms(), *unshared_embeddings(tower.module, model.backbone)]:
                if not self.outside and not path.startswith(inside):
                    continue
                path, layer = own_wrapper(path, layer)
                if any(True for _ in candidates(layer, self.kinds)):
                    yield tower, path, layer

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        layers = [layer for tower in model.towers.values() for layer in tower.linears() + tower.norms()]
        return None if layers else "this encoder has no linear, convolutional or norm layer"


def _towards(weight: Tensor, start: Tensor, rate: float) -> Callable[[Tensor], Tensor]:
    """Adds the gradient of rate * sum |weight - start|."""
    return lambda gradient: gradient + rate * torch.sign(weight.detach() - start)
