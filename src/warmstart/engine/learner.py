"""Objectives, tuner, updates and optimizers over a cast: what one training loop, a stream or a trial drives."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..models import Model
from ..models.reading import reading
from .attention import ShortAttention
from .batches import batch_rows, mine, pieces, to_device
from .cast import Cast
from .precision import best_precision
from .rows import Rows
from .snapshot import Snapshot, changing, everything
from .step import Step, number

MODEL_TURN = "model"


@dataclass(frozen=True)
class Settings:
    """How a run trains; every number in the units of its name.

    steps: updates. batch_size: rows an update, over all processes. accumulate: into how many parts a batch is
    cut. optimizer: `adamw`, or `sgd` with `momentum`. learning_rate: its peak rate for the backbone; attached
    modules get `head_factor` times as much. clip: largest norm of the gradient, None for no limit. precision:
    `bf16`, `no`, None for the hardware's best. validate_every: updates between validations, 0 for none; training
    stops after `patience` validations without a better value, and the best weights are kept. batch_statistics:
    whether batch norms that train follow the batches (pretraining), or keep the running statistics that they came
    with (few labels).
    """

    steps: int = 100
    batch_size: int = 32
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    head_factor: float = 1.0
    weight_decay: float = 0.01
    momentum: float = 0.9
    clip: float | None = 1.0
    precision: str | None = None
    validate_every: int = 0
    patience: int = 3
    batch_statistics: bool = True
    seed: int = 0


class Learner:
    """Objectives, a tuner, updates and optimizers over a cast.

    objectives: (objective, weight) pairs; the loss is the weighted sum of all their terms. A weight may be a
        schedule. None at all: nothing trains by gradients.
    schedule: multiplies the learning rates; None keeps them constant.
    updates: how a batch becomes a change of weights, the outermost first.
    mixture: a schedule whose `shares` draw or weigh the objectives anew at each update.
    validate: how good the model is on rows that it does not learn from, higher is better; None where the run has none.
    spent: what was used so far: updates, trials (updates that were rolled back), examples, tokens.
    """

    def __init__(
        self,
        cast: Cast,
        objectives: Sequence[tuple[object, object]],
        tuner,
        data: Rows,
        settings: Settings,
        schedule=None,
        updates: Sequence[object] = (),
        mixture=None,
    ):
        self.cast, self.objectives, self.tuner, self.data = cast, list(objectives), tuner, data
        self.settings, self.schedule, self.updates, self.mixture = settings, schedule, list(updates), mixture
        self.validate: Callable[[], float] | None = None
        self.spent: Counter[str] = Counter()
        self._trying = 0
        self._accelerator = None
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            for objective, _ in self.objectives:
                objective.prepare(cast, data)
            for update in self.updates:
                update.prepare(self)
        if tuner is not None:
            tuner.apply(cast.model, data)
            cast.model.changes.append({"tune": tuner.describe()})
            cast.rebuild()
            if data is not None:
                data.resume_from(self._reusable_depth(), settings.precision)
        self.optimizers = self._make_optimizers() if self.objectives else {}
        if tuner is not None and self.objectives:
            tuner.choose(self)
            self.start_optimizers()

    @property
    def model(self) -> Model:
        return self.cast.model

    @property
    def module(self) -> LossModule:
        return LossModule(self.cast, self.objectives, self.mixture)

    @property
    def ingredients(self) -> list:
        """Everything that may have a state of its own."""
        mine = [
            *(objective for objective, _ in self.objectives),
            self.tuner,
            *self.updates,
            self.schedule,
            self.mixture,
        ]
        return [one for one in mine if one is not None]

    def _reusable_depth(self) -> int:
        """Blocks whose outputs never change in this run: frozen, without views, read by one member alone."""
        views = any(objective.redraws for objective, _ in self.objectives)
        alone = len(self.cast.members) == 1 and not self.updates
        return self.tuner.prefix(self.cast.model) if alone and not views else 0

    def _make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One for each turn: over the weights that an objective claims for it, all others with the model's turn."""
        named = self.cast.model.trainable()
        if not named:
            raise ValueError("nothing trains: the tuner froze every weight and nothing is attached to the model")
        turns: dict[str, list] = {}
        for name, parameter in named:
            owners = [
                turn
                for objective, _ in self.objectives
                for turn in objective.turns
                if turn != MODEL_TURN and objective.owns(turn, name)
            ]
            turns.setdefault(owners[0] if owners else MODEL_TURN, []).append((name, parameter))
        return {turn: self._optimizer(parameters) for turn, parameters in turns.items()}

    def _optimizer(self, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        groups, settings = _parameter_groups(named, self.settings), self.settings
        if settings.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
        if settings.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        raise ValueError(f"optimizer is `adamw` or `sgd`, not {settings.optimizer!r}")

    def reparametrize(self, coefficients: nn.Module, compose: Callable[[], dict[str, Tensor]]) -> None:
        """Nothing trains but these coefficients, from which `compose` makes the weights that the model computes with.

        They are attached to the model as `coefficients`, for who calls this to take away again.
        """
        model = self.cast.model.requires_grad_(False)
        model.attached["coefficients"] = coefficients.to(model.device).requires_grad_(True)
        self.cast.compose = compose
        self.start_optimizers()

    def start_optimizers(self) -> None:
        """Make the optimizers anew, over what trains now."""
        self.optimizers, self._accelerator = self._make_optimizers(), None

    def connect(self, trackers: list[str] | None = None, folder=None):
        """Bring everything to its device, and wrap it for the processes that share the run; an Accelerator."""
        if self._accelerator is None or trackers:
            self._accelerator = _accelerator(self.settings.precision, trackers, folder)
            for member in self.cast:
                self.cast[member].to(self._accelerator.device)
            self._module = self._accelerator.prepare(self.module) if self.objectives else None
            self._steppers = {turn: self._accelerator.prepare(one) for turn, one in self.optimizers.items()}
        return self._accelerator

    def batch(self, index: int) -> dict:
        """This process's rows of update `index`, on its device."""
        return self.batch_of(batch_rows(self.data, self.settings, index))

    def batch_of(self, rows, data: Rows | None = None) -> dict:
        """This process's share of these rows, on its device. data: other rows than those of the run."""
        accelerator, data = self.connect(), self.data if data is None else data
        batch = data.batch(mine(rows, accelerator.num_processes, accelerator.process_index))
        if "weight" in batch:
            # Of the whole batch, so that its parts weigh what they weigh in it.
            batch["weight"] = batch["weight"] / max(float(data.weights[rows].mean()), 1e-12)
        return to_device(batch, accelerator.device)

    def advance(self, step: Step, batch: dict | None = None) -> dict[str, float]:
        """One update, on the rows of `step.index` or on this batch; the mean of every term."""
        accelerator = self.connect()
        _seed(step, accelerator.process_index)
        if self.schedule is not None and not self._trying:
            self.schedule.plan(self, step)
        self.set_rates(step)
        terms = self._nested(0)(self.batch(step.index) if batch is None else batch, step)
        if self.tuner is not None:
            self.tuner.after_update(self.cast.model, step)
        self.cast.refresh()
        if self.schedule is not None:
            self.schedule.observe(step, **terms)
        return terms

    def _nested(self, depth: int) -> Callable[[dict, Step], dict[str, float]]:
        if depth == len(self.updates):
            return self.update
        inner = self._nested(depth + 1)
        return lambda batch, step: self.updates[depth].step(self, batch, step, inner)

    def update(self, batch: dict, step: Step) -> dict[str, float]:
        """The innermost: gradients of the loss, and one step of the optimizer, turn by turn."""
        terms: dict[str, float] = {}
        for turn in self.turns(step):
            now = dataclasses.replace(step, turn=turn)
            terms |= self.differentiate(batch, now)
            self.descend(now)
        return terms

    def turns(self, step: Step) -> list[str]:
        """The turns of this update, in the order of the objectives."""
        return list(dict.fromkeys(turn for objective, _ in self.objectives for turn in objective.active(step)))

    def differentiate(self, batch: dict, step: Step) -> dict[str, float]:
        """Leave the gradient of the summed loss in `.grad` of what trains in this turn; the mean of every term."""
        accelerator, rows = self.connect(), len(batch["rows"])
        self._steppers[step.turn].zero_grad(set_to_none=True)
        parts = pieces(batch, min(self.settings.accumulate, rows))
        sums: dict[str, Tensor] = {}
        for i, part in enumerate(parts):
            share = len(part["rows"]) / rows
            with accelerator.no_sync(self._module) if i < len(parts) - 1 else nullcontext():
                terms = self._module(part, step)
                accelerator.backward(sum(terms.values()) * share)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach() * share
        self.spent["examples"] += rows * accelerator.num_processes
        self.spent["tokens"] += sum(t.numel() for t in _token_ids(batch)) * accelerator.num_processes
        return {name: accelerator.reduce(term, "mean").item() for name, term in sums.items()}

    def losses(self, batch: dict, step: Step) -> dict[str, Tensor]:
        """Every weighted term with its graph, (B,) or (), for updates that take gradients apart.

        What they make of them is theirs to put into `.grad`; `descend` follows it.
        """
        with self.connect().autocast():
            return self.module(batch, step, reduce=False)

    def descend(self, step: Step) -> None:
        """One step of this turn's optimizer along `.grad`, clipped."""
        if self.settings.clip is not None:
            weights = [p for group in self.optimizers[step.turn].param_groups for p in group["params"]]
            self.connect().clip_grad_norm_(weights, self.settings.clip)
        self._steppers[step.turn].step()
        self.spent["trials" if self._trying else "updates"] += 1

    def set_rates(self, step: Step) -> None:
        factor = 1.0 if self.schedule is None else self.schedule.value(step)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor

    @contextmanager
    def trial(self, but: Sequence[str] = ()) -> Iterator[None]:
        """What happens inside leaves no trace: weights, buffers, optimizers, states and generators come back.

        but: members of the cast that keep what they became.
        """
        before = Snapshot(self)
        self._trying += 1
        try:
            yield
        finally:
            self._trying -= 1
            before.restore(self, but)

    def training(self, on: bool) -> None:
        """Dropout and the like belong to what trains: a model whose backbone is frozen stays in evaluation."""
        model = self.cast.model
        model.eval()
        if on and any(p.requires_grad for p in model.backbone.parameters()):
            model.train()
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    trains = any(p.requires_grad for p in module.parameters())
                    module.train(trains and self.settings.batch_statistics)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that a run changes, by name; no copies."""
        found = {f"model.{name}": tensor for name, tensor in changing(self.cast.model).items()}
        for member in self.cast.averages:
            found |= {f"member.{member}.{name}": t for name, t in everything(self.cast[member]).items()}
        for turn, optimizer in self.optimizers.items():
            for i, slots in optimizer.state_dict()["state"].items():
                found |= {f"optimizer.{turn}.{i}.{n}": v for n, v in slots.items() if torch.is_tensor(v)}
        for i, ingredient in enumerate(self.ingredients):
            found |= {f"ingredient.{i}.{name}": tensor for name, tensor in ingredient.state().items()}
        return found

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], but: Sequence[str] = ()) -> None:
        """Take back what `state` gave. Raises ValueError where it belongs to other weights."""
        _copy_into(changing(self.cast.model), _below(tensors, "model."))
        for member in self.cast.averages:
            if member not in but:
                _copy_into(everything(self.cast[member]), _below(tensors, f"member.{member}."))
        for turn, optimizer in self.optimizers.items():
            saved = optimizer.state_dict()
            saved["state"] = {}
            for name, tensor in _below(tensors, f"optimizer.{turn}.").items():
                index, slot = name.split(".")
                saved["state"].setdefault(int(index), {})[slot] = tensor.clone()
            optimizer.load_state_dict(saved)
        for i, ingredient in enumerate(self.ingredients):
            ingredient.restore({n: t.clone() for n, t in _below(tensors, f"ingredient.{i}.").items()})


class LossModule(nn.Module):
    """The whole loss as one module, so that distributed wrappers see its forward and backward."""

    def __init__(self, cast: Cast, objectives: Sequence[tuple[object, object]], mixture=None):
        super().__init__()
        self.model = cast.model
        self.cast, self.objectives, self.mixture = cast, objectives, mixture

    def forward(self, batch: dict, step: Step, reduce: bool = True) -> dict[str, Tensor]:
        """Mean over the batch's rows of every term, times the rows' `weight` where they have one.

        A term of a name that an objective before it has is called NAME.2, or whichever objective it is of.
        Without `reduce` the terms as the objectives give them, times the objectives' and the rows' weights.
        """
        terms: dict[str, Tensor] = {}
        now = [pair for pair in self.objectives if step.turn in pair[0].active(step)]
        shares = None if self.mixture is None else self.mixture.shares(step, batch["rows"], len(now))
        with ShortAttention(), self.cast.composed(), reading(batch):
            for i, (objective, weight) in enumerate(now):
                share = None if shares is None else shares[..., i]
                if share is not None and not share.any():
                    continue
                for name, term in objective.loss(self.cast, batch, step).items():
                    term = number(weight, step) * _weighted(term, batch.get("weight"), share)
                    terms[name if name not in terms else f"{name}.{i + 1}"] = term.mean() if reduce else term
        return terms


def _weighted(term: Tensor, weights: Tensor | None, share: Tensor | None) -> Tensor:
    if share is not None:
        term = term * share.to(term.device)
    return term if weights is None or term.ndim == 0 else term * weights


def _parameter_groups(named: Iterable[tuple[str, nn.Parameter]], settings: Settings) -> list[dict]:
    """Backbone and attached modules apart; vectors (norms, biases, scales) without weight decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        groups.setdefault((name.startswith("attached."), parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": settings.learning_rate * (settings.head_factor if attached else 1.0),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (attached, decays), parameters in groups.items()
    ]


def _accelerator(precision: str | None, trackers, folder):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    # The precision is accelerate's process-wide state, and it belongs to a run.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision or best_precision(),
        log_with=trackers,
        project_dir=None if folder is None else str(folder),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _copy_into(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    if {name: tensor.shape for name, tensor in saved.items()} != {name: tensor.shape for name, tensor in own.items()}:
        raise ValueError("the saved run trained other weights than this one")
    for name, tensor in own.items():
        tensor.copy_(saved[name])


def _token_ids(batch: dict) -> Iterator[Tensor]:
    for value in batch.values():
        if isinstance(value, dict) and "attention_mask" in value:
            yield value["attention_mask"]


def _seed(step: Step, process: int) -> None:
    seed = (step.seed * 1_000_003 + step.index) * 64 + process
    # torch.manual_seed keeps a record with a stack trace for every device that is not there, at every call.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(seed)
