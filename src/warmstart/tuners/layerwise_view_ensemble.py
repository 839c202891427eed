"""Several depths of a frozen encoder, each joined with a small network that learns from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..engine.rows import Rows
from ..models import Model, Tower
from ..models.pooled import behind_pooling, no_place, pooled_width
from ..models.tower import pool_tokens
from ..models.wrapped import Wrapped
from . import Tuner


class LayerwiseViewEnsemble(Tuner):
    """LEVI: adapting layers read a depth of the frozen encoder beside a small network of the same input; their mean.

    h_l: states behind block l, pooled as the encoder pools, detached; s (m,): the small network's vector of the row
    a_l = U_l gelu( V_l [LN(h_l); LN(s)] ) (D,)            z = mean_l a_l (+ f, the encoder's own, with `residual`)

    z stands in the place of the features f. A linear head of z gives the mean over l of the logits of the heads of a_l,
    so that the ensemble of LEVI is one head, whose last layer the depths share. The small network and the adapting
    layers train, and the head; the encoder is frozen and nothing goes back through it. Of images the small network is
    `depth` convolutions of 3 x 3 with stride 2, of texts the mean of word vectors; both end in a linear layer.

    layers: blocks, from 0, or from the end as -1 for the last; None takes evenly spaced ones and the last third.
    width: m, and the hidden width of a_l.
    depth: convolutions of the small network. residual: U_l start at zero, and the model at the frozen model.
    Raises ValueError for an encoder whose blocks are not known, or a block that it does not have.
    Source: Roh et al. 2024 (arXiv 2402.04644).
    Differs from the paper: depths share the head's last layer, which learns from the loss of the mean alone; the
    paper has a head for each, and no residual.
    """

    learning_rates = (1e-3, 3e-3)
    folds = False

    def __init__(self, layers: Sequence[int] | None = None, width: int = 64, depth: int = 3, residual: bool = True):
        if width < 1 or depth < 1:
            raise ValueError(f"width and depth are 1 or more, not {width} and {depth}")
        self.layers, self.width, self.depth, self.residual = layers, width, depth, residual

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Where there is such an ensemble already, it goes on training."""
        reason = self.unfit(model)
        if reason is not None:
            raise ValueError(reason)
        model.freeze()
        for tower in model.towers.values():
            ensemble = behind_pooling(model, tower, _Ensemble, lambda base, tower=tower: self._around(base, tower))
            for name, parameter in ensemble.named_parameters():
                parameter.requires_grad_(not name.startswith("base_layer."))

    def _around(self, base_layer: nn.Module, tower: Tower) -> _Ensemble:
        for layer in self.layers or ():
            if not -tower.depth <= layer < tower.depth:
                raise ValueError(f"layers: no block {layer}; the encoder has blocks 0 to {tower.depth - 1}")
        chosen = spread(tower.depth) if self.layers is None else [layer % tower.depth for layer in self.layers]
        first = _reads(tower)
        if isinstance(first, nn.Embedding):
            scratch: nn.Module = _WordMean(first.num_embeddings, self.width)
        else:
            scratch = _Convolutions(first.in_channels, self.width, self.depth)
        widths = [_width(tower.blocks[layer]) for layer in chosen]
        made = _Ensemble(base_layer, scratch, widths, self.width, pooled_width(tower), self.residual)
        made.how, made.skip = _pooling(tower)
        tower.module.register_forward_pre_hook(made.note_mask, with_kwargs=True)
        first.register_forward_pre_hook(made.note_input)
        for place, layer in enumerate(chosen):
            tower.blocks[layer].register_forward_hook(made.noting(place))
        return made

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for name, tower in model.towers.items():
            if tower.depth == 0:
                return f"the blocks of this {name} encoder are not known"
            if _reads(tower) is None:
                return f"the small network reads images or tokens, which this {name} encoder does not"
        return no_place(model)


class _Ensemble(Wrapped):
    """(B, D) -> (B, D). widths: of the states that are read."""

    def __init__(
        self, base_layer: nn.Module, scratch: nn.Module, widths: Sequence[int], width: int, out: int, residual: bool
    ):
        super().__init__(base_layer)
        self.scratch = scratch
        self.norms = nn.ModuleList(nn.LayerNorm(one) for one in (*widths, width))
        self.down = nn.ModuleList(nn.Linear(one + width, width) for one in widths)
        self.up = nn.ModuleList(nn.Linear(width, out) for _ in widths)
        self.residual = residual
        self.how, self.skip = "mean", 0
        self.input: Tensor | None = None
        self.mask: Tensor | None = None
        self.states: dict[int, Tensor] = {}
        if residual:
            for layer in self.up:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def note_mask(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        mask = kwargs.get("attention_mask")
        self.mask = mask if mask is not None and mask.ndim == 2 else None

    def note_input(self, module: nn.Module, args: tuple) -> None:
        self.input = args[0]

    def noting(self, place: int) -> _Note:
        return _Note(self, place)

    def forward(self, *args, **kwargs) -> Tensor:
        features = self.base_layer(*args, **kwargs).detach()
        own = self.norms[-1](self.scratch(self.input, self.mask))
        views = self.views(own)
        mean = sum(views) / len(views)
        self.input, self.mask, self.states = None, None, {}
        return features + mean if self.residual else mean

    def views(self, own: Tensor) -> list[Tensor]:
        """(B, D) of every depth that is read. own: (B, m) of the small network."""
        found = []
        for place, (down, up) in enumerate(zip(self.down, self.up, strict=True)):
            state = self.norms[place](self._row(self.states[place].detach()))
            found.append(up(nn.functional.gelu(down(torch.cat([state, own], 1)))))
        return found

    def _row(self, state: Tensor) -> Tensor:
        if state.ndim == 4:
            return state.mean((2, 3))
        return pool_tokens(state[:, self.skip :], self.mask, self.how)


class _Note:
    """A hook that leaves what a block returns with the ensemble."""

    def __init__(self, ensemble: _Ensemble, place: int):
        self.ensemble, self.place = ensemble, place

    def __call__(self, module: nn.Module, args: tuple, output) -> None:
        self.ensemble.states[self.place] = output[0] if isinstance(output, tuple) else output


class _Convolutions(nn.Module):
    """(B, C, H, W) -> (B, width): convolutions that halve the image, group norms, the mean, a linear layer."""

    def __init__(self, channels: int, width: int, depth: int):
        super().__init__()
        widths = [max(width >> (depth - 1 - i), 8) for i in range(depth)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(read, made, 3, 2, 1), nn.GroupNorm(1, made), nn.GELU())
            for read, made in zip([channels, *widths], widths, strict=False)
        )
        self.last = nn.Linear(widths[-1], width)

    def forward(self, images: Tensor, mask: Tensor | None) -> Tensor:
        for layer in self.layers:
            images = layer(images)
        return self.last(images.mean((2, 3)))


class _WordMean(nn.Module):
    """(B, T) tokens -> (B, width): the mean of the real tokens' vectors, a linear layer."""

    def __init__(self, words: int, width: int):
        super().__init__()
        self.words, self.last = nn.Embedding(words, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        return self.last(pool_tokens(self.words(tokens), mask, "mean"))


def spread(depth: int) -> tuple[int, ...]:
    """The last third of the blocks, two at least, and every third one before: 12 -> 2, 5, 8, 9, 10, 11."""
    late = max(-(-depth // 3), 2)
    return tuple(i for i in range(depth) if i >= depth - late or (i % 3 == 2))


def _pooling(tower: Tower) -> tuple[str, int]:
    """(how tokens are pooled, how many are skipped)."""
    how = tower.pool if tower.pool != "own" else "first" if tower.prefix_tokens else "mean"
    return how, tower.skip_tokens if how == "mean" else 0


def _reads(tower: Tower) -> nn.Conv2d | nn.Embedding | None:
    """The first layer, which sees the images or the tokens; None where it is of another kind."""
    kinds = {"image": nn.Conv2d, "text": nn.Embedding}
    kind = kinds.get(tower.modality)
    return None if kind is None else next((one for one in tower.module.modules() if isinstance(one, kind)), None)


def _width(block: nn.Module) -> int:
    """Width of what a block returns: that of its last weight, a norm's or a bias."""
    return list(block.parameters())[-1].shape[0]
