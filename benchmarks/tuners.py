"""docs/tuners.md: when does anything beat a frozen backbone with a closed-form head, and when LoRA?

    python -m benchmarks.tuners [NAME...]     run what is missing, then write docs/tuners.md

Reads ../shared (data and weights) beside the checkout; every run can be interrupted and continued.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from .real_data import MOBILENET, ROOT, SHARED, board_lines, run

RUNS = Path("runs/tuners")
PAGE = ROOT / "docs" / "tuners.md"
COSTS = ROOT / RUNS / "costs.json"

HEADS = ("logistic", "gda")
TUNERS = ("linear_head", "full", "lora", "freeze", "scale_shift", "adapter", "sparse_update")
AT_ALL = ("logistic", "gda", "full", "lora", "freeze", "scale_shift")
SETTINGS = {
    "banking77": ("MiniLM, banking77", "minilm ../shared/data/banking77"),
    "sst2": ("MiniLM, SST-2", "minilm ../shared/data/sst2"),
    "trec": ("MiniLM, TREC", "minilm ../shared/data/trec_questions"),
    "cifar10": ("MobileNetV2, CIFAR-10", f"'{MOBILENET}' ../shared/data/cifar10_subset"),
    "pacs": (
        "MobileNetV2, PACS photos",
        f"'{MOBILENET}' ../shared/data/pacs_domains --where domain=photo --shifted-where domain=sketch",
    ),
    "digits": ("zoo ViT, digits", "zoo/vit-mnist digits"),
}
FEW, ALL = "few", "all"
BUDGETS = {FEW: "15s", ALL: "60s"}
SIGNIFICANT = 0.05


def command(name: str, shots: str) -> str:
    methods = ",".join((*HEADS, *TUNERS) if shots == FEW else AT_ALL)
    which = "--shots 4,16" if shots == FEW else "--shots all --seeds 1"
    return (
        f"warmstart compare {SETTINGS[name][1]} {which} --methods {methods} --budget {BUDGETS[shots]} "
        f"--out {RUNS / f'{name}-{shots}'}"
    )


def boards() -> dict[tuple[str, str], dict]:
    """(setting, few or all) -> its finished board."""
    found = {}
    for name in SETTINGS:
        for key in (FEW, ALL):
            path = ROOT / RUNS / f"{name}-{key}" / "board.json"
            if path.exists() and not json.loads(path.read_text())["partial"]:
                found[name, key] = json.loads(path.read_text())
    return found


def measure_costs() -> None:
    """What an update costs under every tuner, on two models; the fastest of ten updates of 32 rows."""
    from warmstart import ingredients
    from warmstart.data import load_data
    from warmstart.engine.cast import Cast
    from warmstart.engine.costs import update_costs
    from warmstart.engine.learner import Learner, Settings
    from warmstart.engine.rows import Rows
    from warmstart.models import load_model
    from warmstart.objectives.cross_entropy import CrossEntropy

    found: dict[str, dict] = {}
    for source, data in (("minilm", SHARED / "data/banking77"), ("zoo/vit-mnist", "digits")):
        rows = load_data(data).train.take(range(64))
        for name in ingredients.names("tuners"):
            model = load_model(source)
            if ingredients.required("tuners", name) or ingredients.find("tuners", name).unfit(model) is not None:
                continue
            tuner = ingredients.build("tuners", name)
            # The states of a frozen prefix are cached in a training; here an update is timed whole.
            tuner.prefix = lambda model: 0
            objectives = [(CrossEntropy(), 1.0)]
            learner = Learner(Cast(model), objectives, tuner, Rows(model, rows), Settings(steps=16, batch_size=32))
            found.setdefault(source, {})[name] = update_costs(learner)
    COSTS.parent.mkdir(parents=True, exist_ok=True)
    COSTS.write_text(json.dumps(found, indent=1))


def page(found: dict[tuple[str, str], dict]) -> str:
    """docs/tuners.md from the boards at hand."""
    parts = [
        "# Which weights to tune\n",
        "Made by `python -m benchmarks.tuners`. When does anything beat a frozen backbone with a closed-form head, and "
        f"when does anything beat LoRA? Each column is one `warmstart compare` under one budget a trial "
        f"({BUDGETS[FEW][:-1]} s at 4 and 16 labels a class, {BUDGETS[ALL][:-1]} s at all labels), search included, on "
        "one core; the commands stand below. Accuracy in percent, the mean of three seeds (one seed at all labels); "
        "bold where it is not significantly below the best of its column (bootstrap over seeds and test rows, Holm, "
        "5 %).\n",
    ]
    missing = [f"{SETTINGS[name][0]} ({key})" for name in SETTINGS for key in (FEW, ALL) if (name, key) not in found]
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.\n")
    parts += ["## What the tables say\n", *_answers(found), ""]
    for shots, key in ((4, FEW), (16, FEW), ("all", ALL)):
        columns = {name: found[name, key] for name in SETTINGS if (name, key) in found}
        if columns:
            title = "All labels, one seed" if shots == "all" else f"{shots} labels a class, three seeds"
            parts += [f"## {title}\n", *_matrix(columns, shots), ""]
    if COSTS.exists():
        parts += ["## What an update costs\n", *_costs(json.loads(COSTS.read_text())), ""]
    parts.append("## The boards\n")
    for (name, shots), board in found.items():
        parts += [f"### {SETTINGS[name][0]}\n", f"```\n{command(name, shots)}\n```\n", *board_lines(board)]
    return "\n".join(parts)


def _matrix(columns: dict[str, dict], shots) -> list[str]:
    cells: dict[str, dict[str, str]] = {}
    for name, board in columns.items():
        for item in board["summary"]:
            if item["shots"] == shots:
                number = f"{100 * item['mean']:.1f}"
                bold = item["p_holm"] is None or item["p_holm"] >= SIGNIFICANT
                cells.setdefault(item["method"], {})[name] = f"**{number}**" if bold else number
    floors = ("raw_logistic", "random_backbone", "majority")
    order = [m for m in (*HEADS, *TUNERS, *floors) if m in cells]
    lines = ["| method | " + " | ".join(SETTINGS[name][0] for name in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    lines += [f"| {m} | " + " | ".join(cells[m].get(name, "-") for name in columns) + " |" for m in order]
    return lines


@dataclass(frozen=True)
class Column:
    """One board at one number of labels. A method is better only where it is significantly so: each is tested against
    the best of the column, so that nothing but the best can be."""

    setting: str
    shots: int | str
    at: dict[str, dict]

    @property
    def head(self) -> dict:
        return max((self.at[name] for name in HEADS), key=lambda item: item["mean"])

    @property
    def tuned(self) -> dict:
        return max((self.at[name] for name in TUNERS if name in self.at), key=lambda item: item["mean"])

    @property
    def best(self) -> dict:
        return max([self.tuned, self.head, *self.at.values()], key=lambda item: item["mean"])

    @property
    def tuning_wins(self) -> bool:
        return self.best["method"] in TUNERS and _below(self.head)

    @property
    def lora_loses(self) -> bool:
        return _below(self.at["lora"])


def _columns(found: dict[tuple[str, str], dict]) -> list[Column]:
    return [
        Column(SETTINGS[name][0], shots, {m["method"]: m for m in board["summary"] if m["shots"] == shots})
        for shots, key in ((4, FEW), (16, FEW), ("all", ALL))
        for (name, which), board in found.items()
        if which == key
    ]


def _answers(found: dict[tuple[str, str], dict]) -> list[str]:
    """In words, then for every column: the best head, the best tuner, LoRA, and whether their order is significant."""
    columns = _columns(found)
    lines = []
    for shots in dict.fromkeys(column.shots for column in columns):
        here = [column for column in columns if column.shots == shots]
        labels = "all labels (one seed)" if shots == "all" else f"{shots} labels a class"
        wins = [f"{c.setting} ({_named(c.best)} against {_named(c.head)})" for c in here if c.tuning_wins]
        beaten = [f"{c.setting} ({_named(c.best)} against {c.at['lora']['mean']:.1%})" for c in here if c.lora_loses]
        seconds = [statistics.median(c.at[m]["seconds"] for c in here) for m in ("gda", "lora")]
        lines.append(
            f"- **With {labels}**, tuning beats the better closed-form head in {len(wins)} of {len(here)} settings"
            f"{': ' + '; '.join(wins) if wins else ''}. LoRA is beaten in {len(beaten)} of {len(here)}"
            f"{': ' + '; '.join(beaten) if beaten else ''}. A trial of `gda` takes {seconds[0]:.2g} s, of `lora` "
            f"{seconds[1]:.2g} s (medians)."
        )
    lines += [
        "",
        "A method is named as better only where it is the best of its column and the other is significantly below.\n",
        "| setting | labels | best closed form | best tuned | tuned beats closed form | LoRA | anything beats LoRA |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for c in columns:
        cells = [c.setting, str(c.shots), _named(c.head), _named(c.tuned), "yes" if c.tuning_wins else "no"]
        cells += [f"{c.at['lora']['mean']:.1%}", c.best["method"] if c.lora_loses else "no"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _below(item: dict) -> bool:
    """Whether it is significantly below the best of its column."""
    return item["p_holm"] is not None and item["p_holm"] < SIGNIFICANT


def _named(item: dict) -> str:
    return f"{item['method']} {item['mean']:.1%}"


def _costs(found: dict[str, dict]) -> list[str]:
    lines = [
        "An update of 32 rows (banking77 with MiniLM, UCI digits with the zoo's ViT), every tuner at its defaults: "
        "weights that train, the head's included; the fastest of ten updates, and that over full fine-tuning's; what "
        "the forward pass keeps for the backward one. States of frozen blocks are computed anew here; a training "
        "caches them.\n",
        "| tuner | " + " | ".join(f"{m}: trained | ms | of full | kept MB" for m in found) + " |",
        "| --- |" + " ---: |" * 4 * len(found),
    ]
    for name in dict.fromkeys(name for costs in found.values() for name in costs):
        cells = []
        for costs in found.values():
            cost = costs.get(name)
            if cost is None:
                cells += ["-"] * 4
                continue
            share = cost["step_milliseconds"] / costs["full"]["step_milliseconds"]
            cells += [f"{cost['trainable']:,}", f"{cost['step_milliseconds']:.0f}", f"{share:.2f}"]
            cells.append(f"{cost['activation_megabytes']:.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    if not (ROOT / SHARED).exists():
        print("skipped: ../shared (data and weights) is not beside the checkout")
        return
    for name in sys.argv[1:] or SETTINGS:
        for shots in (FEW, ALL):
            run(command(name, shots), RUNS / f"{name}-{shots}")
    if not COSTS.exists() and not sys.argv[1:]:
        measure_costs()
    PAGE.write_text(page(boards()))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
