"""Small trainable modules at the attention and feed-forward layers of frozen blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..engine.rows import Rows
from ..models import Model, ModelError, Tower
from ..models.layers import is_linear, is_transposed
from ..models.layouts import Part
from ..models.wrapped import Wrapped, innermost, is_wrapper
from . import Tuner

_FORMS = ("mlp", "conformer")
_INSERTIONS = ("parallel", "sequential")
# Place -> what reads the layer's input, and what gives its output, ahead of the residual sum.
_PLACES = {"attention": ("attention.query", "attention.out"), "ffn": ("ffn.in", "ffn.out")}
_ACTIVATIONS = {"relu": nn.functional.relu, "gelu": nn.functional.gelu}


class Adapter(Tuner):
    """A bottleneck at the attention or the feed-forward layer of every block trains, and the head.

    parallel:    y = layer(x) + s f(x)   (+ x with `residual`)
    sequential:  y = s f(layer(x))       (+ layer(x) with `residual`)
    mlp:         f(h) = act(h W_down + b_down) W_up + b_up
    conformer:   f(h) = P2( SiLU( BN( depthwise_k( GLU( P1( LN(h) ))))))   P1: d -> 2r, P2: r -> d, k tokens in a row

    x (B, T, d) is what the layer reads, after the norm where a norm stands before it; y is added to the residual stream
    in the place of layer(x). W_up, b_up and P2 start at zero, the rest as torch draws it, so that the model starts as
    it was unless `residual` says otherwise.

    rank: r. insertion: `parallel` or `sequential`. place: `attention`, `ffn`, or `both` (Houlsby's two a block, where
        `ffn` alone is Pfeiffer's one). scaling: s. residual: inside the adapter; None is True where sequential.
    form: `mlp` or `conformer`, which mixes neighbouring tokens of audio or images (padding would be mixed in too).
    activation: of the mlp, `relu` or `gelu`. kernel: k of the conformer.
    Raises ValueError for another value, or an encoder whose layers are not known; ModelError where the encoder carries
    an adapter of another shape.
    Source: He et al. 2021 (arXiv 2110.04366; their best: parallel, ffn, s = 4, r = 512); the conformer and `residual`:
    Cappellazzo et al. 2023 (arXiv 2312.03694); sequential: Houlsby et al. 2019 (arXiv 1902.00751).
    Differs from the papers: no dropout; norms of the encoder stay frozen. The code of 2312.03694 starts both matrices
    of the mlp at zero, from where neither moves. Their learning rates are 5e-3 (2312.03694) and 1e-4 (2110.04366).
    """

    learning_rates = (5e-3, 1e-3)
    folds = False

    def __init__(
        self,
        rank: int = 8,
        insertion: str = "parallel",
        place: str = "ffn",
        scaling: float = 1.0,
        residual: bool | None = None,
        form: str = "mlp",
        activation: str = "relu",
        kernel: int = 31,
    ):
        if rank < 1 or kernel < 1:
            raise ValueError(f"rank and kernel are 1 or more, not {rank} and {kernel}")
        for name, value, known in (
            ("insertion", insertion, _INSERTIONS),
            ("place", place, (*_PLACES, "both")),
            ("form", form, _FORMS),
            ("activation", activation, _ACTIVATIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")
        self.rank, self.insertion, self.place, self.scaling = rank, insertion, place, scaling
        self.residual = insertion == "sequential" if residual is None else residual
        self.form, self.activation, self.kernel = form, activation, kernel

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Adapters that are there already go on training."""
        reason = self.unfit(model)
        if reason is not None:
            raise ValueError(reason)
        model.freeze()
        for tower in {id(tower.module): tower for tower in model.towers.values()}.values():
            for read, written in self._places(tower):
                adapted = _adapter_of(written.module)
                if adapted is None:
                    adapted = self._around(read, written).to(model.device).train(written.module.training)
                    tower.module.set_submodule(written.path, adapted)
                elif adapted.settings != self._settings:
                    raise ModelError(f"{written.name} carries an adapter of another shape: load the model without it")
                adapted.adapter.requires_grad_(True)

    def _places(self, tower: Tower) -> Iterator[tuple[Part, Part]]:
        """(what reads the layer's input, what gives its output) at every place to adapt."""
        for place in _PLACES if self.place == "both" else (self.place,):
            first, last = _PLACES[place]
            yield from zip(tower.parts(f"block.*.{first}"), tower.parts(f"block.*.{last}"), strict=True)

    def _around(self, read: Part, written: Part) -> _Adapted:
        reader, writer = innermost(read.path, read.module)[1], innermost(written.path, written.module)[1]
        width = _widths(writer)[1]
        inputs = _widths(reader)[0] if self.insertion == "parallel" else width
        if self.form == "mlp":
            adapter: nn.Module = _Bottleneck(inputs, self.rank, width, self.activation)
        else:
            adapter = _Conformer(inputs, self.rank, width, self.kernel)
        adapted = _Adapted(written.module, adapter, self._settings)
        if self.insertion == "parallel":
            reader.register_forward_pre_hook(adapted.note_input)
        return adapted

    @property
    def _settings(self) -> tuple:
        return self.insertion, self.scaling, self.residual, self.form, self.rank, self.activation, self.kernel

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for tower in model.towers.values():
            if not {"ffn.in", "ffn.out", "attention.query", "attention.out"} <= tower.layout.parts.keys():
                return f"the attention and feed-forward layers of this {tower.modality} encoder are not known"
        return None


class _Adapted(Wrapped):
    """Stands where the last linear layer of an attention or feed-forward layer stood."""

    def __init__(self, base_layer: nn.Module, adapter: nn.Module, settings: tuple):
        super().__init__(base_layer)
        self.adapter, self.settings = adapter, settings
        insertion, self.scaling, self.residual, *_ = settings
        self.parallel = insertion == "parallel"
        self.read: Tensor | None = None

    def note_input(self, module: nn.Module, args: tuple) -> None:
        self.read = args[0]

    def forward(self, *args, **kwargs) -> Tensor:
        output = self.base_layer(*args, **kwargs)
        state, self.read = (self.read if self.parallel else output), None
        change = self.scaling * self.adapter(state)
        change = change + state if self.residual else change
        return output + change if self.parallel else change


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, rank: int, outputs: int, activation: str):
        super().__init__()
        self.down, self.up, self.activation = nn.Linear(inputs, rank), nn.Linear(rank, outputs), activation
        nn.init.zeros_(self.down.bias)
        _silence(self.up)

    def forward(self, state: Tensor) -> Tensor:
        return self.up(_ACTIVATIONS[self.activation](self.down(state)))


class _Conformer(nn.Module):
    """The convolution module of the conformer, over the tokens of a row in their order."""

    def __init__(self, inputs: int, rank: int, outputs: int, kernel: int):
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.first = nn.Conv1d(inputs, 2 * rank, 1)
        self.depthwise = nn.Conv1d(rank, rank, kernel, padding="same", groups=rank)
        self.batch_norm = nn.BatchNorm1d(rank)
        self.second = nn.Conv1d(rank, outputs, 1)
        _silence(self.second)

    def forward(self, state: Tensor) -> Tensor:
        mixed = nn.functional.glu(self.first(self.norm(state).transpose(1, 2)), dim=1)
        return self.second(nn.functional.silu(self.batch_norm(self.depthwise(mixed)))).transpose(1, 2)


@torch.no_grad()
def _silence(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()


def _widths(layer: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer."""
    if not is_linear(layer):
        raise LookupError(f"a {type(layer).__name__} is no linear layer")
    outputs, inputs = layer.weight.shape[:2]
    return (outputs, inputs) if is_transposed(layer) else (inputs, outputs)


def _adapter_of(module: nn.Module) -> _Adapted | None:
    while is_wrapper(module):
        if isinstance(module, _Adapted):
            return module
        module = module.base_layer
    return None
