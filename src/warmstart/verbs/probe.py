"""Measure something; nothing changes."""

from __future__ import annotations

import json

from ..engine.atomic import write_atomic
from ..engine.cast import Cast
from ..models import Model
from ..probes import Probe
from .state import State

REPORT = "report.json"


def probe(state: State, probe: Probe) -> dict:
    """Run a probe over the model as it is now; its numbers are the metrics `STEP.NAME` of the run."""
    saved = None if state.folder is None else state.folder / REPORT
    if saved is not None and saved.exists():
        report = json.loads(saved.read_text())
    else:
        members = {name: state.artifact(name, Model, "a model") for name in probe.members()}
        cast = Cast(state.model, **state.members | members)
        report = probe.measure(cast, state.data, state.fitted)
        if saved is not None and state.main:
            write_atomic(saved, json.dumps(report).encode())
    state.reports[state.step] = state.made = report
    return report
