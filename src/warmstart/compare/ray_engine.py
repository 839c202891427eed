"""Trials over a Ray cluster: every worker follows the plan in the shared folder, as the local engine does."""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Iterator

from ..data.dataset import DataError
from .board import Row
from .plan import Trial
from .session import Session, follow
from .trial import failed

_ATTEMPTS = 2
_PASSED_ON = ("WARMSTART_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "OMP_WAIT_POLICY")


class Worker:
    """One process of the cluster. It loads data and models once, at its first trial."""

    def __init__(self, folder: str, directory: str, environment: dict[str, str]):
        os.environ.update(environment)
        # Paths of data and models are as the user wrote them.
        os.chdir(directory)
        self.folder, self.session = folder, None

    def run(self, place: int) -> tuple[str | None, str | None]:
        """(row as JSON, None) of the trial at this place of the plan, or (None, what the user should know)."""
        try:
            if self.session is None:
                self.session = self._follow()
            return self.session.run(self.session.plan.trials[place]).model_dump_json(), None
        except ValueError as error:
            if type(error).__module__.startswith("warmstart."):
                return None, str(error)
            raise

    def _follow(self) -> Session:
        from pathlib import Path

        import torch

        session = follow(Path(self.folder))
        torch.set_num_threads(session.plan.threads)
        return session


def run_ray(session: Session, workers: int | None = None) -> Iterator[tuple[Trial, Row | None]]:
    """As `run_local`, with the trials spread over a cluster; rows come as they are done.

    The cluster is the one that this process is connected to, else the one at $RAY_ADDRESS, else a local one.
    workers: processes; by default as many as the cluster's CPUs have room for at the plan's threads each. All
    must see the folder, the data and the models under the same paths. A worker that dies costs its trial a second
    attempt, then its row. Raises DataError where Ray is not installed or a worker cannot find the data.
    """
    ray = _import_ray()
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        where = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": _cpus(session, workers)}
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False if where else None, **where)
    crew = _Crew(ray, session)
    try:
        yield from crew.run(workers or crew.room())
    finally:
        crew.dismiss()
        if ours:
            ray.shutdown()


class _Crew:
    def __init__(self, ray, session: Session):
        self.ray, self.session = ray, session
        self.running: dict = {}
        resources = ray.cluster_resources()
        gpus = 1 if resources.get("GPU") else 0
        self.actor = ray.remote(num_cpus=session.plan.threads, num_gpus=gpus, max_restarts=0)(Worker)
        self.most = [resources.get("CPU", 1) // session.plan.threads] + ([resources["GPU"]] if gpus else [])

    def room(self) -> int:
        return max(int(min(self.most)), 1)

    def run(self, workers: int) -> Iterator[tuple[Trial, Row | None]]:
        session = self.session
        waiting = deque(session.todo)
        attempts: Counter = Counter()
        idle = [self._hire() for _ in range(min(workers, len(waiting)))]
        while waiting or self.running:
            while waiting and idle:
                trial, worker = waiting.popleft(), idle.pop()
                self.running[worker.run.remote(session.plan.trials.index(trial))] = trial, worker
                if not attempts[trial.id]:
                    yield trial, None
                attempts[trial.id] += 1
            done, _ = self.ray.wait(list(self.running), num_returns=1)
            trial, worker = self.running.pop(done[0])
            try:
                row = _row(self.ray.get(done[0]))
            except self.ray.exceptions.RayActorError:
                idle.append(self._hire())
                if attempts[trial.id] < _ATTEMPTS:
                    waiting.append(trial)
                    continue
                reason = f"its worker process died {_ATTEMPTS} times, for want of memory perhaps"
                row = session.keep(trial, failed(trial, reason))
            else:
                idle.append(worker)
            yield trial, row

    def dismiss(self) -> None:
        for _, worker in self.running.values():
            self.ray.kill(worker)

    def _hire(self):
        passed_on = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
        # Numbers depend on how many threads add them up.
        passed_on |= {"OMP_NUM_THREADS": str(self.session.plan.threads)}
        return self.actor.remote(str(self.session.folder.resolve()), os.getcwd(), passed_on)


def _row(answer: tuple[str | None, str | None]) -> Row:
    row, fault = answer
    if fault is not None:
        raise DataError(fault)
    return Row(**json.loads(row))


def _cpus(session: Session, workers: int | None) -> int:
    cpus = os.cpu_count() or 1
    return max(cpus, session.plan.threads) if workers is None else workers * session.plan.threads


def _import_ray():
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise DataError("engine ray needs Ray: pip install 'warmstart[distributed]'") from error
    return ray
