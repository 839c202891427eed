"""The zoo: tiny checkpoints that recipes made, each with a card beside it."""

from __future__ import annotations

import json
from pathlib import Path

from .data.cache import cache_folder
from .recipe import recipe_names, recipe_summary

CARD = "card.json"
_PACKAGED = Path(__file__).parent / "models" / "zoo"
# Of the last training step: what another run is compared with, and over how many the final one is averaged.
_FIRST_LOSSES, _LAST_LOSSES = 10, 20
# Which of a card's numbers a line of the list has room for.
_SHOWN = ("accuracy", "recall_at_1", "perplexity", "mismatched")


def members() -> dict[str, dict]:
    """Name -> card of every checkpoint, the package's and those of the user's cache; `folder` and `bytes` are added.

    Recipes of the zoo that have no checkpoint yet stand there with what they are alone.
    """
    found: dict[str, dict] = {}
    for home in (cache_folder() / "zoo", _PACKAGED):
        for file in sorted(home.glob(f"*/{CARD}")):
            size = sum(one.stat().st_size for one in file.parent.glob("*.safetensors"))
            card = json.loads(file.read_text())
            found[f"zoo/{file.parent.name}"] = card | {"folder": str(file.parent), "bytes": size}
    for name in recipe_names():
        if name.startswith("zoo/"):
            found[name] = {"what": recipe_summary(name)} | found.get(name, {})
    return dict(sorted(found.items()))


def table() -> str:
    """The text of `warmstart zoo`: two lines for each checkpoint."""
    lines = []
    for name, card in members().items():
        lines.append(f"{name:20} {card.get('what', '')}")
        if "folder" not in card:
            lines.append(f"{'':20} not made yet: warmstart run {name}")
            continue
        size = f"{card['parameters']:,} parameters, {card['bytes'] / 1e6:.1f} MB"
        lines.append(f"{'':20} {size}; {_data(card['data'])}; {quality(card)}")
    return "\n".join(lines)


def quality(card: dict) -> str:
    """The numbers by which a member of the zoo is judged, as measured when it was made."""
    shown = {name: value for name, value in card["quality"].items() if name.rpartition(".")[2] in _SHOWN}
    return ", ".join(f"{name} {value:.3g}" for name, value in shown.items())


def write_card(run, record: dict, folder: Path | None) -> None:
    """Write `card.json` beside the checkpoint that a zoo recipe made, if it did. folder: None for the user's cache."""
    from .engine.atomic import write_atomic
    from .models import count
    from .run_record import versions

    recipe, traces = run.recipe, run.trace
    folder = cache_folder() / recipe.name if folder is None else folder
    if not (folder / "config.json").exists():
        return
    trained = {step: len(trace.losses) for step, trace in traces.items()}
    losses = [loss for trace in list(traces.values())[-1:] for loss in trace.losses]
    last = losses[-_LAST_LOSSES:]
    card = {
        "what": recipe_summary(recipe.name) if recipe.name in recipe_names() else "",
        "recipe": recipe.name,
        "command": f"warmstart run {recipe.name} --out DIR --seed {record['seed']}",
        "data": record["data"],
        "seed": record["seed"],
        "steps": sum(trained.values()),
        "seconds": round(sum(run.seconds.values()), 1),
        "first_losses": [round(loss, 4) for loss in losses[:_FIRST_LOSSES]],
        "final_loss": round(sum(last) / len(last), 4) if last else None,
        "parameters": count(list(run.model.backbone.parameters())),
        "quality": {name: round(value, 4) for name, value in run.metrics.items()},
        "versions": versions(),
        "precision": "float16",
    }
    write_atomic(folder / CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())


def _data(data: str | dict) -> str:
    if isinstance(data, str):
        return data
    return ", ".join(f"{key} {_data(value) if isinstance(value, dict) else value}" for key, value in data.items())
