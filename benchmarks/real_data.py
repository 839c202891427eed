"""The boards of docs/results.md: real models on real data, as a newcomer would run them.

    python -m benchmarks.real_data [NAME...]     run what is missing, then write docs/results.md

Reads ../shared (data and weights) beside the checkout; every run can be interrupted and continued.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path("../shared")
RUNS = Path("runs/results")
PAGE = ROOT / "docs" / "results.md"

MOBILENET = (
    "timm:mobilenetv2_100?weights=../shared/weights/mobilenet_v2_100_224_imagenet/model.safetensors"
    "&pad_type=same&bn_eps=0.001&mean=0.5&std=0.5&size=96"
)
BUDGET = "--budget 6s"
COMMANDS = {
    "default": "",
    "banking77": f"minilm ../shared/data/banking77 --shots 5,16 {BUDGET}",
    "sst2": f"minilm ../shared/data/sst2 --shots 4,16 {BUDGET}",
    "trec": f"minilm ../shared/data/trec_questions --shots 4,16 {BUDGET}",
    "clinc150": "minilm ../shared/data/clinc150_oos --shots 1,5 --shifted ../shared/data/clinc150_oos/oos_test.csv"
    " --budget 3s",
    "cifar10": f"'{MOBILENET}' ../shared/data/cifar10_subset --shots 4,16 --budget 3s",
    "pacs": f"'{MOBILENET}' ../shared/data/pacs_domains --where domain=photo --shifted-where domain=sketch"
    f" --shots 4,16 {BUDGET}",
}
TITLES = {
    "default": "A tiny ViT, pretrained without labels on MNIST, adapted to UCI digits (the default)",
    "banking77": "MiniLM on banking77 (77 intents)",
    "sst2": "MiniLM on SST-2 (sentiment, 2 classes)",
    "trec": "MiniLM on TREC (6 question types)",
    "clinc150": "MiniLM on CLINC150 (150 intents; out-of-scope rows as shifted data)",
    "cifar10": "MobileNetV2 (ImageNet, at 96 px) on a CIFAR-10 subset",
    "pacs": "MobileNetV2 (ImageNet, at 96 px) on PACS photos, shifted to sketches",
}


def command(name: str) -> str:
    return f"warmstart compare {COMMANDS[name]} --out {RUNS / name}".replace("  ", " ")


def run(command: str, folder: Path) -> None:
    """Run one comparison, or continue it; a finished one is left alone. command: `warmstart compare ... --out DIR`."""
    folder = ROOT / folder
    if (folder / "board.json").exists() and not json.loads((folder / "board.json").read_text())["partial"]:
        return
    resume = ["--resume"] if (folder / "plan.json").exists() else []
    print(f"$ {command}", flush=True)
    words = [sys.executable, "-m", "warmstart", *shlex.split(command)[1:], *resume]
    subprocess.run(words, cwd=ROOT, check=True)


def page() -> str:
    """docs/results.md from the boards at hand."""
    parts = [
        "# Results on real data\n",
        "Every table is made by the command above it (`make results` runs them all). Three seeds draw the training "
        "rows; intervals are 95 % of a bootstrap over seeds and test rows; p is against the best method, after Holm. "
        "Seconds are of one trial, search included, shared encoding excluded.\n",
    ]
    for name, title in TITLES.items():
        path = ROOT / RUNS / name / "board.json"
        if path.exists():
            parts += [f"## {title}\n", f"```\n{command(name)}\n```\n", *board_lines(json.loads(path.read_text()))]
    return "\n".join(parts)


def board_lines(board: dict) -> list[str]:
    """A board as a page shows it: its verdict, a table, what failed or was skipped."""
    shots = list(dict.fromkeys(item["shots"] for item in board["summary"]))
    top = shots[-1]
    by = {(item["method"], item["shots"]): item for item in board["summary"]}
    order = sorted({m for m, _ in by}, key=lambda m: -(by[m, top]["mean"] if (m, top) in by else -1))
    rows: dict[str, list[dict]] = {}
    for row in board["rows"]:
        if row["status"] == "ok" and row["shots"] == top:
            rows.setdefault(row["method"], []).append(row)
    extra = [
        (key, label)
        for key, label in (
            ("shifted_accuracy", "shifted"),
            ("shifted_auroc", "AUROC unseen"),
            ("forgetting", "forgetting"),
        )
        if any(row.get(key) is not None for found in rows.values() for row in found)
    ]
    lines = [f"{board['verdict']}\n"]
    heads = ["method", *[_shots(item) for item in shots], "p", "ECE", *[label for _, label in extra], "s", "trained"]
    lines += ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for method in order:
        cells = [method]
        for item in shots:
            found = by.get((method, item))
            cells.append(
                f"{100 * found['mean']:.1f} ({100 * found['low']:.1f}-{100 * found['high']:.1f})" if found else "-"
            )
        last = by.get((method, top), {})
        cells.append("" if last.get("p_holm") is None else f"{last['p_holm']:.3f}")
        for key in ("ece", *[key for key, _ in extra]):
            values = [row[key] for row in rows.get(method, []) if row.get(key) is not None]
            cells.append(f"{sum(values) / len(values):.3f}" if values else "")
        cells.append("" if last.get("seconds") is None else f"{last['seconds']:.2f}")
        cells.append("" if last.get("trainable_parameters") is None else f"{last['trainable_parameters']:,}")
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    failed = [row for row in board["rows"] if row["status"] == "failed"]
    for row in failed:
        lines.append(f"- failed: {row['method']}, {_shots(row['shots'])}, seed {row['seed']}: {row['reason']}")
    lines += [f"- skipped: {item['method']}: {item['reason']}" for item in board["skipped"]]
    lines += [f"- note: {line}" for line in board["warnings"]]
    about = board["run"]
    lines.append(f"- whole run: {about['seconds']:.0f} s; {about.get('machine')}, {about.get('threads')} threads\n")
    return lines


def _shots(shots) -> str:
    return "all" if shots == "all" else f"{shots}/class"


def main() -> None:
    if not (ROOT / SHARED).exists():
        print("skipped: ../shared (data and weights) is not beside the checkout")
        return
    for name in sys.argv[1:] or COMMANDS:
        run(command(name), RUNS / name)
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
