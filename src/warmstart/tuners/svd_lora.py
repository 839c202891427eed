"""A low-rank adapter that starts as a part of the weight: its largest or smallest components, oriented by inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data.load import load_data
from ..engine.layer_inputs import read_layer_inputs
from ..engine.rows import Rows
from ..models import Model, ModelError
from ..models.layers import is_convolution
from ..models.targets import EVERY_LINEAR, Target, as_weight, matrix_of, targets
from ..models.wrapped import Wrapped, is_wrapper
from . import Tuner

_ORIENTATIONS, _ENDS = ("covariance", "diagonal", "identity"), ("top", "bottom")
_DAMPING, _INVERSE_ERROR = 0.01, 0.05


class SvdLora(Tuner):
    """CorDA, PiSSA, MiLoRA: a low-rank part of the weight trains, the residual is frozen, and the head trains.

    C = X^T X / N of the layer's inputs X (N, n);  C <- C + d mean(diag C) I,  d = 0.01 doubled until
        ||C C^-1 - I|| < 0.05
    W C = U S V^T,  so that W = U S (V^T C^-1)
    B = U_r sqrt(S_r) (m, r),  A = sqrt(S_r) V_r^T C^-1 (r, n);  R = W - B_0 A_0 is frozen
    y = R x + B A x + b,  computed as W x + b + B A x - B_0 A_0 x
    folded: W' = W + B A - B_0 A_0

    W itself stays: a saved model has it as its backbone and A, B, A_0, B_0 beside it, so that nothing is lost to
    rounding and nothing is decomposed again when it is loaded. A part of a fused weight is a matrix of its own.
    rank: r. end: components of the `top` (CorDA's instruction-previewed mode) or the `bottom` (its
        knowledge-preserved mode).
    orientation: C in full, its diagonal alone, or the identity: PiSSA (top), MiLoRA (bottom).
    calibration: what `load_data` takes, rows of what is to be kept; None for the rows to train on. rows: how many.
    targets: part names; linear layers and 1 x 1 convolutions of the blocks where the encoder's parts are not known.
    Without data (a checkpoint's replay) the adapter waits for its tensors. A layer that the data does not reach (the
    other tower of a dual encoder) is oriented by the identity.
    Raises ValueError for a rank, orientation or end that means nothing; LookupError for a part that a known encoder
    does not have; ModelError for a layer that carries another change.
    Source: Yang et al. 2024 (arXiv 2406.05223); Meng et al. 2024 (arXiv 2404.02948) and Wang et al. 2024
    (arXiv 2406.09044) for the identity, Yuan et al. 2023 (arXiv 2312.05821) for the diagonal.
    Differs from the papers: the residual is kept as W and B_0 A_0; the decomposition is in float64; diagonal C is the
    mean square, where ASVD takes powers of the mean magnitude. Their learning rate is 2e-5 at rank 128.
    """

    learning_rates = (5e-4, 2e-3)

    def __init__(
        self,
        rank: int = 8,
        orientation: str = "covariance",
        end: str = "top",
        calibration: str | dict | None = None,
        rows: int = 256,
        targets: Sequence[str] = EVERY_LINEAR,
    ):
        if rank < 1 or rows < 1:
            raise ValueError(f"rank and rows are 1 or more, not {rank} and {rows}")
        if orientation not in _ORIENTATIONS or end not in _ENDS:
            raise ValueError(
                f"orientation is one of {', '.join(_ORIENTATIONS)}, end of {', '.join(_ENDS)}, "
                f"not {orientation!r} and {end!r}"
            )
        self.rank, self.orientation, self.end = rank, orientation, end
        self.calibration, self.rows, self.targets = calibration, rows, tuple(targets)

    def apply(self, model: Model, data: Rows | None = None) -> None:
        """Layers that have such an adapter already go on with it."""
        found = targets(model, self.targets, pointwise=True)
        fresh = [target for target in found if target.wrapper(_Adapted) is None]
        for target in fresh:
            if is_wrapper(target.module):
                raise ModelError(f"{target.path}: fold the other change of this layer before svd_lora")
        moments = self._second_moments(model, data, fresh) if data is not None else {}
        model.freeze()
        for i, target in enumerate(fresh):
            adapter = _Adapted(target.layer, target.rows, self.rank)
            for piece, weight in enumerate(_pieces(target) if data is not None else []):
                adapter.begin(piece, *self._start(weight, moments.get(str(i))))
            target.put(adapter)
        for target in found:
            for parameter in target.wrapper(_Adapted).parameters(recurse=False):
                parameter.requires_grad_(True)

    @torch.no_grad()
    def _second_moments(self, model: Model, data: Rows, fresh: list[Target]) -> dict[str, Tensor]:
        """Number of the layer -> X^T X / N, float64; none where inputs do not matter, or the layer reads none."""
        if self.orientation == "identity" or not fresh:
            return {}
        if self.calibration is not None:
            data = Rows(model, load_data(self.calibration).train)
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def note(name: str, x: Tensor) -> None:
            x = x.double()
            sums[name] = sums.get(name, 0) + x.T @ x
            counts[name] = counts.get(name, 0) + len(x)

        read_layer_inputs(model, data, {str(i): target.layer for i, target in enumerate(fresh)}, self.rows, note)
        return {name: total / counts[name] for name, total in sums.items()}

    @torch.no_grad()
    def _start(self, weight: Tensor, second: Tensor | None) -> tuple[Tensor, Tensor]:
        """B (m, r) and A (r, n), in float64, of a weight (m, n)."""
        left, values, right = decomposed(weight, self._orientation(second))
        rank = min(self.rank, len(values))
        kept = slice(0, rank) if self.end == "top" else slice(len(values) - rank, None)
        roots = values[kept].sqrt()
        return left[:, kept] * roots, roots.unsqueeze(1) * right[kept]

    def _orientation(self, second: Tensor | None) -> Tensor | None:
        return second.diag().diag() if second is not None and self.orientation == "diagonal" else second

    @torch.no_grad()
    def fold(self, model: Model) -> None:
        for target in targets(model, self.targets, pointwise=True):
            adapter = target.wrapper(_Adapted)
            if adapter is not None:
                target.layer.weight += as_weight(adapter.change(), target.layer)
                target.take_out(adapter)
        model.forget({"tune": self.describe()})

    @classmethod
    def unfit(cls, model: Model) -> str | None:
        try:
            found = targets(model, EVERY_LINEAR, pointwise=True)
        except LookupError as error:
            return str(error)
        return None if found else "this encoder has no linear layer and no 1 x 1 convolution"


@torch.no_grad()
def decomposed(weight: Tensor, orientation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, k), S (k,) and V^T C^-1 (k, n) with W C = U S V^T, in float64; C the identity where it is None."""
    weight = weight.double()
    if orientation is None:
        return torch.linalg.svd(weight, full_matrices=False)
    inverse, damped = _inverse(orientation)
    left, values, right = torch.linalg.svd(weight @ damped, full_matrices=False)
    return left, values, right @ inverse


def _inverse(moment: Tensor) -> tuple[Tensor, Tensor]:
    """(C^-1, C), C damped until its inverse is one."""
    identity, damping = torch.eye(len(moment), dtype=moment.dtype, device=moment.device), _DAMPING
    while True:
        # Inputs that are never anything but zero would leave no scale to damp by.
        damped = moment + damping * moment.diag().mean().clamp_min(1e-12) * identity
        inverse = torch.linalg.inv(damped)
        if torch.dist(damped @ inverse, identity) < _INVERSE_ERROR:
            return inverse, damped
        damping *= 2


def _pieces(target: Target) -> list[Tensor]:
    return [matrix_of(target.layer)[start:stop] for start, stop in target.rows]


class _Adapted(Wrapped):
    """up_i (m_i, r), down_i (r, n): B and A of every part; start_up_i, start_down_i: as they started, 0 before that."""

    def __init__(self, layer: nn.Module, rows: list[tuple[int, int]], rank: int):
        super().__init__(layer)
        self.rows, self.height, width = rows, len(matrix_of(layer)), matrix_of(layer).shape[1]
        self.steps = layer.stride if is_convolution(layer) else None
        for i, (start, stop) in enumerate(rows):
            size = min(rank, stop - start, width)
            for name, shape in ((f"up_{i}", (stop - start, size)), (f"down_{i}", (size, width))):
                self.register_parameter(name, nn.Parameter(layer.weight.new_zeros(shape)))
                self.register_buffer(f"start_{name}", layer.weight.new_zeros(shape))

    @torch.no_grad()
    def begin(self, i: int, up: Tensor, down: Tensor) -> None:
        for name, value in ((f"up_{i}", up), (f"down_{i}", down)):
            getattr(self, name).copy_(value)
            getattr(self, f"start_{name}").copy_(value)

    def change(self) -> Tensor:
        """B A - B_0 A_0 of all parts (m, n)."""
        changes = [
            getattr(self, f"up_{i}") @ getattr(self, f"down_{i}")
            - getattr(self, f"start_up_{i}") @ getattr(self, f"start_down_{i}")
            for i in range(len(self.rows))
        ]
        return sum(self._placed(one.T, i).T for i, one in enumerate(changes))

    def forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        output = self.base_layer(x, *args, **kwargs)
        for i in range(len(self.rows)):
            # Computed alike, so that they are equal to the last bit at the start.
            change = self._part(x, "", i) - self._part(x, "start_", i)
            output = output + (change if self.steps is not None else self._placed(change, i))
        return output

    def _part(self, x: Tensor, state: str, i: int) -> Tensor:
        down, up = getattr(self, f"{state}down_{i}"), getattr(self, f"{state}up_{i}")
        if self.steps is None:
            return nn.functional.linear(nn.functional.linear(x, down), up)
        inner = nn.functional.conv2d(x, down[..., None, None], stride=self.steps)
        return nn.functional.conv2d(inner, up[..., None, None])

    def _placed(self, values: Tensor, i: int) -> Tensor:
        """(..., m_i) among zeros (..., m)."""
        start, stop = self.rows[i]
        return nn.functional.pad(values, (start, self.height - stop))
