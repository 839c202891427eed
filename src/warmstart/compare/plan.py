"""All trials of a comparison with fixed configurations: what every engine, and every resume, follows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ..data.dataset import DataError
from ..engine.atomic import write_atomic
from .configure import configure, unfit
from .content import Content
from .methods import Method
from .request import Request
from .stage import Stage

FILE = "plan.json"
_ORDER = {"floor": 0, "predictor": 1, "tuner": 2, "recipe": 3}


@dataclass(frozen=True)
class Trial:
    """One method, model, shots and seed, with its fixed configuration; estimate: seconds it should take."""

    method: str
    kind: str
    model: str
    shots: int | str
    seed: int
    config: dict
    estimate: float

    @property
    def id(self) -> str:
        """A file name: readable, short, and of no other trial."""
        whole = json.dumps([self.method, self.model, self.shots, self.seed])
        short = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{self.method[:40]}-{self.model[-40:]}-{self.shots}-{self.seed}")
        return f"{short}-{hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()}"


@dataclass
class Plan:
    """All trials in the order they run, the methods left out (and why), and the threads they compute with.

    asked: the lists of methods given so far, each as it was given, None for the default; a folder gets more.
    content: of the data and the weights that the trials are made from.
    """

    request: Request
    trials: list[Trial]
    skipped: list[dict]
    threads: int
    asked: list[list[str] | None] = field(default_factory=list)
    content: Content = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        found = {
            "request": self.request.to_json(),
            "asked": self.asked,
            "content": self.content,
            "threads": self.threads,
            "skipped": self.skipped,
            "trials": [asdict(trial) for trial in self.trials],
        }
        write_atomic(folder / FILE, json.dumps(found, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Raises DataError where the file is missing or broken."""
        try:
            found = json.loads((folder / FILE).read_text())
            found["trials"] = [Trial(**trial) for trial in found["trials"]]
            return cls(**{**found, "request": Request.from_json(found["request"])})
        except OSError as error:
            raise DataError(f"{folder / FILE}: cannot be read: {error.strerror}; nothing to resume") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{folder / FILE}: not a plan: {error}") from error


def make_plan(
    request: Request,
    methods: list[Method],
    stages: list[Stage],
    known: Plan | None = None,
    on_planning: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Trials of all methods that apply; those of `known` stay as they are."""
    trials = [] if known is None else list(known.trials)
    skipped = [] if known is None else list(known.skipped)
    done = {(trial.method, trial.model) for trial in trials} | {(s["method"], s["model"]) for s in skipped}
    for stage in stages:
        for method in methods:
            if (method.name, stage.name) in done:
                continue
            reason = unfit(method, stage)
            if reason is not None:
                skipped.append({"method": method.name, "model": stage.name, "reason": reason})
                continue
            if method.kind in ("predictor", "tuner"):
                on_planning(f"timing {method.name} on {stage.name}")
            for shots in request.shots:
                config, estimate = configure(method, stage, shots)
                trials += [
                    Trial(method.name, method.kind, stage.name, shots, seed, config, estimate)
                    for seed in range(request.seeds)
                ]
    trials.sort(key=lambda trial: _ORDER[trial.kind])
    asked = [] if known is None else list(known.asked)
    wanted = None if request.methods is None else list(request.methods)
    return Plan(
        request if known is None else known.request,
        trials,
        skipped,
        torch.get_num_threads() if known is None else known.threads,
        asked if wanted in asked else [*asked, wanted],
        {} if known is None else known.content,
    )
