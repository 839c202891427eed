"""What stands in a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Step(BaseModel):
    """One verb with its arguments as written; `keep` is the name under which a frozen copy of the model stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    verb: str
    arguments: dict
    keep: str | None = None


class Document(BaseModel):
    """What stands in a recipe's file.

    card: id of the paper's card. model: what `load_model` takes, or `{builder of warmstart.models: arguments}`
    for random weights. data: what `load_data` takes, or its arguments as a mapping. steps: in this order, by
    name. arms: name -> {path: value}, what differs from the recipe itself, which is the arm `method`.
    claim: assertions over the arms' metrics. seeds: how many a claim runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    card: str | None = None
    model: str | dict | None = None
    data: str | dict | None = None
    steps: dict[str, dict | str | None]
    arms: dict[str, dict] = {}
    claim: list[str] = []
    seeds: int = Field(5, ge=1)
