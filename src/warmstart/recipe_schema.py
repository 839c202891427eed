"""What stands in a recipe."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# The least that a number among a step's arguments can be, by its name; what it means, the verb says.
LEAST = {
    "steps": 0, "batch_size": 1, "accumulate": 1, "learning_rate": 0, "head_factor": 0, "weight_decay": 0, "clip": 0,
    "validate_every": 0, "patience": 1, "checkpoint_every": 0, "shots": 1, "rows": 1, "samples": 1, "times": 1,
    "folds": 2,
}  # fmt: skip
# The words that an argument can be, by its name, where it is no `@name` of an earlier step.
ROWS = ("train", "labeled", "unlabeled", "val", "test", "shifted")
WORDS = {"data": ROWS, "validation": ROWS, "source": ("start", "random")}


class Step(BaseModel):
    """One verb with its arguments as written; `keep` is the name under which a frozen copy of the model stays.

    steps: the steps that it performs in turn, by name, where its verb is `repeat` or `recipe`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    verb: str
    arguments: dict
    keep: str | None = None
    steps: dict[str, Step] = {}


class Budget(BaseModel):
    """What the arms that a claim compares spend alike, within 5 %. arms: those it is about; None for all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    equal: Literal["steps"]
    arms: list[str] | None = None


class Document(BaseModel):
    """What stands in a recipe's file.

    card: id of the paper's card. model: what `load_model` takes, or `{builder of warmstart.models: arguments}`
    for random weights. data: what `load_data` takes, or its arguments as a mapping; relative paths are also
    looked up in the data root (`recipe_sources`). steps: in this order, by name. arms: name -> {path: value},
    what differs from the recipe itself, which is the arm `method`.

    claim: assertions over the arms' metrics, all required (`recipe_assertions`). seeds: how many a claim runs.
    mechanism: assertions tested where the claim does not hold: what the card names besides quality.
    real: {path: value} that make the recipe its run on real data, or several such sets by name.
    grid: path -> values; every arm runs once for each combination. across: the probe whose `across` makes the
    metrics of an arm from the table of its runs.
    budget: what the arms must spend alike. stands_in: what the data stands in for.
    reason: why the verdict is not `holds`; one text, or texts by `world`, `real` or the name of a real set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    card: str | None = None
    model: str | dict | None = None
    data: str | dict | None = None
    steps: dict[str, dict | str | None]
    arms: dict[str, dict] = {}
    claim: list[str] = []
    mechanism: list[str] = []
    real: dict[str, Any] = {}
    grid: dict[str, list] = {}
    across: str | dict | None = None
    budget: Budget | None = None
    seeds: int = Field(5, ge=1)
    stands_in: str | None = None
    reason: str | dict[str, str] | None = None
