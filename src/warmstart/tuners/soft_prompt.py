"""Trainable tokens, or keys and values, that the blocks of a frozen encoder read beside a row's own tokens."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..engine.rows import Rows
from ..models import Model, ModelError, Tower
from ..models.layers import is_transposed
from ..models.layouts import Part
from ..models.prepended import PrefixAttention, mask_with_prompts, mask_with_readers, rotation_with_prompts
from ..models.wrapped import Wrapped, innermost, is_wrapper
from . import Tuner

_FORMS = ("shallow", "deep", "prefix")
_PREFIX_SPREAD = 0.02


class SoftPrompt(Tuner):
    """Prompts P (l, d) that train, and the head; the encoder itself stays as it is.

    shallow:  [Z_1, X_1] = B_1([P, X_0]),  [Z_i, X_i] = B_i([Z_{i-1}, X_{i-1}])
    deep:     [_, X_i] = B_i([P_i, X_{i-1}])                         other prompts at every block
    prefix:   head_h = softmax(q_h [K_h, k_h]^T / sqrt(d_h)) [V_h, v_h]   K, V (l, d) at every block

    Prompts stand before a row's tokens, have no position of their own and are never masked; where tokens see only what
    is before them, so do prompts. What comes after each block, norms and pooling included, sees the row's own tokens
    alone, unless `pooled`.

    length: l. form: as above. pooled: the last block's prompt outputs are averaged with the tokens, for encoders that
        pool the mean of a fixed number of tokens (images, audio).
    Prompts are drawn uniformly with variance 1 / d, keys and values from N(0, 0.02^2), by torch's generator: the model
    does not start at the pretrained features.
    Raises ValueError for another form, an encoder whose blocks are not known, or `pooled` where it does not apply;
    ModelError where other prompts are there already, and where a model with prompts writes tokens from a cache.
    Source: prompts: Jia et al. 2022 (arXiv 2203.12119), Lester et al. 2021 (arXiv 2104.08691); prefix: Li and Liang
    2021 (arXiv 2101.00190); `pooled`: Cappellazzo et al. 2023 (arXiv 2312.03694).
    Differs from the papers: no dropout; keys and values train themselves, not through an MLP. Their learning rates are
    1e-2 (2312.03694) and, with SGD, up to 50 (2203.12119).
    """

    learning_rates = (1e-2, 3e-2)
    folds = False
    starts_there = False

    def __init__(self, length: int = 8, form: str = "deep", pooled: bool = False):
        if form not in _FORMS:
            raise ValueError(f"form is one of {', '.join(_FORMS)}, not {form!r}")
        if length < 1:
            raise ValueError(f"length is 1 or more, not {length}")
        if pooled and form == "prefix":
            raise ValueError("keys and values have no outputs that could be pooled: leave out pooled")
        self.length, self.form, self.pooled = length, form, pooled

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Prompts that are there already go on training."""
        reason = self.unfit(model)
        if reason is not None:
            raise ValueError(reason)
        model.freeze()
        for tower in {id(tower.module): tower for tower in model.towers.values()}.values():
            prompted = [_prompted(block) for block in tower.blocks]
            if not any(prompted):
                prompted = self._insert(tower)
            elif any(one is None or one.settings != self._settings for one in prompted):
                raise ModelError("the model carries prompts of another shape: load it without them")
            for block in prompted:
                for parameter in block.parameters(recurse=False):
                    parameter.requires_grad_(True)

    def _insert(self, tower: Tower) -> list[_Prompted | _Prefixed]:
        if self.pooled and (tower.pool != "mean" or tower.modality == "text"):
            raise ValueError(
                f"pooled: this {tower.modality} encoder does not pool the mean of a fixed number of tokens"
            )
        keys, queries = tower.parts("block.*.attention.key"), tower.parts("block.*.attention.query")
        device = next(tower.module.parameters()).device
        inserted: list[_Prompted | _Prefixed] = []
        carried = _Carried()
        for i, block in enumerate(tower.blocks):
            if self.form == "prefix":
                made = _Prefixed(block, self.length, _outputs(keys[i]))
            else:
                width = _inputs(queries[i])
                made = _Prompted(block, self.length if i == 0 or self.form == "deep" else 0, width, carried)
                made.index, last = i, i == tower.depth - 1
                made.hands_on, made.appended = self.form == "shallow" and not last, self.pooled and last
            made.settings = self._settings
            inserted.append(made.to(device))
        for i, block in enumerate(inserted):
            tower.module.set_submodule(f"{tower.layout.blocks}.{i}", block)
        return inserted

    @property
    def _settings(self) -> tuple:
        return self.form, self.length, self.pooled

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for tower in model.towers.values():
            if not tower.depth or not {"attention.query", "attention.key"} <= tower.layout.parts.keys():
                return f"the attention of this {tower.modality} encoder is not known, and prompts are read by attention"
        return None


class _Carried:
    """state: (B, l, d), what the prompts were after the block before."""

    def __init__(self):
        self.state: Tensor | None = None


class _Prompted(Wrapped):
    """A block that reads prompts before its tokens: its own (l, d), or what the block before made of them.

    index: which block it is. hands_on: the next block reads what it makes of the prompts. appended: that follows the
    tokens' outputs.
    """

    settings: tuple = ()
    index = 0
    hands_on = False
    appended = False

    def __init__(self, base_layer: nn.Module, length: int, width: int, carried: _Carried):
        super().__init__(base_layer)
        self.carried = carried
        prompts = nn.Parameter(torch.empty(length, width).uniform_(-1, 1) * math.sqrt(3 / width)) if length else None
        self.register_parameter("prompts", prompts)

    def forward(self, *args, **kwargs):
        names = list(inspect.signature(innermost("", self.base_layer)[1].forward).parameters)
        state = args[0] if args else kwargs[names[0]]
        cache = dict(zip(names, args, strict=False), **kwargs).get("past_key_values")
        if cache is not None and cache.get_seq_length(self.index):
            raise ModelError("a model with soft prompts does not write tokens from a cache: form: prefix does")
        prompts, self.carried.state = self.carried.state, None
        if self.prompts is not None:
            prompts = self.prompts.to(state.dtype).expand(len(state), -1, -1)
        length, tokens = prompts.shape[1], state.shape[1]
        extended: dict[str, Callable] = {
            names[0]: lambda value: torch.cat([prompts, value], 1),
            "attention_mask": lambda value: mask_with_prompts(value, length),
            "attn_mask": lambda value: mask_with_prompts(value, length),
            "mask": lambda value: mask_with_prompts(value, length),
            "encoder_attention_mask": lambda value: mask_with_readers(value, length, tokens),
            "position_embeddings": lambda value: rotation_with_prompts(value, length),
        }

        def changed(name: str, value):
            return extended[name](value) if name in extended and value is not None else value

        args = tuple(changed(name, value) for name, value in zip(names, args, strict=False))
        output = self.base_layer(*args, **{name: changed(name, value) for name, value in kwargs.items()})
        states = output[0] if isinstance(output, tuple) else output
        prompts, states = states[:, :length], states[:, length:]
        if self.hands_on:
            self.carried.state = prompts
        if self.appended:
            states = torch.cat([states, prompts], 1)
        return (states, *output[1:]) if isinstance(output, tuple) else states


class _Prefixed(Wrapped):
    """A block whose attention to its own tokens also reads keys and values (l, d) that train."""

    settings: tuple = ()

    def __init__(self, base_layer: nn.Module, length: int, width: int):
        super().__init__(base_layer)
        self.keys = nn.Parameter(_PREFIX_SPREAD * torch.randn(length, width))
        self.values = nn.Parameter(_PREFIX_SPREAD * torch.randn(length, width))

    def forward(self, *args, **kwargs):
        with PrefixAttention(self.keys, self.values) as attention:
            output = self.base_layer(*args, **kwargs)
        if not attention.done:
            raise ModelError(
                f"{type(innermost('', self.base_layer)[1]).__name__} does not compute attention with torch's "
                "scaled_dot_product_attention, where prefix tuning enters: load it with attn_implementation sdpa"
            )
        return output


def _inputs(part: Part) -> int:
    layer = innermost(part.path, part.module)[1]
    return layer.weight.shape[0 if is_transposed(layer) else 1]


def _outputs(part: Part) -> int:
    """Outputs of one part of a weight, which may be fused."""
    layer = innermost(part.path, part.module)[1]
    outputs = layer.weight.shape[1 if is_transposed(layer) else 0]
    return outputs // part.slice[1] if part.slice else outputs


def _prompted(module: nn.Module) -> _Prompted | _Prefixed | None:
    while is_wrapper(module):
        if isinstance(module, _Prompted | _Prefixed):
            return module
        module = module.base_layer
    return None
