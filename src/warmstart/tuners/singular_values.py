"""The singular values of weight matrices train, their singular vectors stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..engine.rows import Rows
from ..models import Model, ModelError
from ..models.targets import EVERY_LINEAR, as_weight, matrix_of, targets
from ..models.wrapped import Wrapped, is_wrapper
from . import Tuner

_ENDS, _FORMS = ("top", "bottom"), ("additive", "multiplicative")


class SingularValues(Tuner):
    """SVFit: r singular values of every target weight train, and the head.

    W = U diag(s0) V^T  of a weight (m, n) as matrix: a convolution's is (out, in * window), a table's (rows, width)
    y = (W + U_r diag(s - s0) V_r^T) x + b,  s (r,) trains from s0: the residual W - U_r diag(s0) V_r^T is frozen
    folded: W' = W + U_r diag(s - s0) V_r^T

    A part of a fused weight is a matrix of its own. U and V are not saved: they are computed again, in float64, from
    the weights that they were computed from.
    rank: r; None for as many of the largest as hold more than `energy` of the sum of all singular values.
    end: `top` trains the largest values; `bottom` the smallest, as many of them.
    form: `multiplicative` trains the factor s / s0 from 1 instead of s: one learning rate for values of all sizes.
    targets: part names, also `embed`; every layer of the blocks where the encoder's parts are not known.
    Raises ValueError for a rank, energy, end or form that means nothing; LookupError for a part that a known encoder
    does not have; ModelError for a layer that carries another change, a weight shared with another layer, or saved
    values of other weights.
    Source: Sun et al. 2024 (arXiv 2409.05926).
    Differs from the paper: every linear layer of a block is a target, where its counts are those of query and value;
    W is kept whole beside what is added, which is 0 at the start, so that the output is exactly the pretrained one.
    """

    learning_rates = (1e-2, 3e-2)

    def __init__(
        self,
        rank: int | None = None,
        energy: float = 0.99,
        end: str = "top",
        form: str = "additive",
        targets: Sequence[str] = EVERY_LINEAR,
    ):
        if rank is not None and rank < 1:
            raise ValueError(f"rank is 1 or more, not {rank}")
        if not 0 < energy <= 1:
            raise ValueError(f"energy is a share above 0 and up to 1, not {energy}")
        if end not in _ENDS or form not in _FORMS:
            raise ValueError(f"end is one of {', '.join(_ENDS)}, form of {', '.join(_FORMS)}, not {end!r} and {form!r}")
        self.rank, self.energy, self.end, self.form, self.targets = rank, energy, end, form, tuple(targets)

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Layers whose singular values train already go on with those that they have."""
        model.freeze()
        for target in targets(model, self.targets, embeddings=True):
            wrapper = target.wrapper(_Spectrum)
            if wrapper is None:
                if is_wrapper(target.module):
                    raise ModelError(f"{target.path}: fold the other change of this layer before singular_values")
                if sum(p is target.layer.weight for m in model.modules() for p in m._parameters.values()) > 1:
                    raise ModelError(f"{target.path}: its weight is also another layer's, which would change with it")
                vectors = [self._chosen(matrix_of(target.layer)[start:stop]) for start, stop in target.rows]
                wrapper = _Spectrum(target.layer, vectors, target.rows, self.form == "multiplicative")
                target.put(wrapper)
            wrapper.values.requires_grad_(True)

    @torch.no_grad()
    def _chosen(self, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """U_r (m, r), s_r (r,) and V_r^T (r, n) of a matrix."""
        left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        rank = self.rank
        if rank is None:
            rank = int((values.cumsum(0) / values.sum() <= self.energy).sum()) + 1
        rank = min(rank, len(values))
        kept = slice(0, rank) if self.end == "top" else slice(len(values) - rank, None)
        return left[:, kept], values[kept], right[kept]

    @torch.no_grad()
    def fold(self, model: Model) -> None:
        for target in targets(model, self.targets, embeddings=True):
            wrapper = target.wrapper(_Spectrum)
            if wrapper is not None:
                target.layer.weight += wrapper.change()
                target.take_out(wrapper)
        model.forget({"tune": self.describe()})

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        for name, tower in model.towers.items():
            if not tower.layout.parts and not tower.linears():
                return f"this {name} encoder has no linear layer and no convolution"
        return None


class _Spectrum(Wrapped):
    """values: (R,) those of all parts one after the other, or their factors; start: (R,) the pretrained ones.

    left (m, R), right (R, n): singular vectors, left ones zero outside the rows of their part.
    """

    def __init__(self, base_layer: nn.Module, vectors: list, rows: list, multiplicative: bool):
        super().__init__(base_layer)
        weight, height = matrix_of(base_layer), len(matrix_of(base_layer))
        left = [nn.functional.pad(u, (0, 0, a, height - b)) for (u, _, _), (a, b) in zip(vectors, rows, strict=True)]
        self.multiplicative = multiplicative
        start = torch.cat([s for _, s, _ in vectors]).to(weight)
        self.register_buffer("left", torch.cat(left, 1).to(weight), persistent=False)
        self.register_buffer("right", torch.cat([v for _, _, v in vectors]).to(weight), persistent=False)
        self.register_buffer("start", start)
        self.values = nn.Parameter(torch.ones_like(start) if multiplicative else start.clone())

    def change(self) -> Tensor:
        """What is added to the weight."""
        # Small beside the weight, and lost in half precision.
        with torch.autocast(self.left.device.type, enabled=False):
            difference = (self.values - 1) * self.start if self.multiplicative else self.values - self.start
            return as_weight((self.left * difference) @ self.right, self.core)

    def forward(self, *args, **kwargs) -> Tensor:
        weights = {f"{self.prefix}weight": self.core.weight + self.change()}
        return functional_call(self.base_layer, weights, args, kwargs)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        saved = state_dict.get(prefix + "start")
        if saved is not None:
            nearly = {"rtol": 1e-3, "atol": 1e-3 * float(self.start.max())}
            if saved.shape != self.start.shape or not torch.allclose(saved.to(self.start), self.start, **nearly):
                raise ModelError(
                    f"{prefix.rstrip('.')}: the saved singular values are of other weights than those here; "
                    "fold singular_values before other weights of its layers train"
                )
        super()._load_from_state_dict(state_dict, prefix, *args)
