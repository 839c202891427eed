"""Side by side with the libraries people use today, in turns in one run.

    python -m benchmarks [--turns N] [NAME...]     run these (all by default), then write docs/benchmarks.md

Results are kept in benchmarks/results.json, so that rows can be run one at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from . import work

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"

# name: (work, peer, goal in words, turns, met)
ROWS = {
    "encode": ("sentence-transformers `encode`", ">= 2x, cosine >= 0.9999", 5, lambda r: r["ratio"] >= 2),
    "closed_form": ("`Trainer` at its defaults", "<= 0.5 of its time, more accurate", 5, lambda r: r["ratio"] >= 2),
    "everything": (
        "`Trainer` tuned (20 epochs, 2e-4)",
        "<= 1 of its time, more accurate",
        1,
        lambda r: r["ratio"] >= 1,
    ),
    "lora_epoch": ("peft + `Trainer`, its head as fast", ">= 2x at equal accuracy", 5, lambda r: r["ratio"] >= 2),
    "top_blocks": ("`Trainer`, the rest frozen, its head as fast", ">= 3x", 5, lambda r: r["ratio"] >= 3),
    "masked_reconstruction": ("transformers `ViTMAEForPreTraining`", ">= 1.5x", 5, lambda r: r["ratio"] >= 1.5),
    "gda": ("scikit-learn `LinearDiscriminantAnalysis`", ">= 5x", 5, lambda r: r["ratio"] >= 5),
    "memory": ("-", "<= 300 MB over the model", 1, lambda r: r["ours"] <= 300),
    "world": ("-", ">= 2,000 scenes a second", 3, lambda r: r["ours"] >= 2000),
    "help_": ("-", "<= 0.5 s", 5, lambda r: r["ours"] <= 0.5),
}


def measure(name: str, most: int) -> dict:
    turns = [getattr(work, name)() for _ in range(min(ROWS[name][2], most))]
    found = {"ours": statistics.median(turn["ours"] for turn in turns), "turns": len(turns)}
    found["note"] = turns[-1]["note"]
    if turns[0]["theirs"] is not None:
        found["theirs"] = statistics.median(turn["theirs"] for turn in turns)
        found["ratio"] = statistics.median(turn["theirs"] / turn["ours"] for turn in turns)
    found["met"] = bool(ROWS[name][3](found)) and all(turn.get("better", True) for turn in turns)
    found["met"] = found["met"] and all(turn.get("cosine", 1.0) >= 0.9999 for turn in turns)
    return found


def page(results: dict) -> str:
    lines = [
        "# Benchmarks\n",
        "Made by `make bench` (`python -m benchmarks [NAME...]`). Ours and the peer's run in turns in one process "
        "(whole commands as processes of their own); figures are medians over the turns, ratios are taken turn by "
        "turn. Seconds unless said otherwise. Ours computes in bfloat16 where the processor multiplies in it, which "
        "is its default; the peers compute in float32, which is theirs. Part of every ratio is that.\n",
        "| work | peer | ours | theirs | theirs / ours | goal | met | turns | |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | ---: | --- |",
    ]
    for name, (peer, goal, _, _) in ROWS.items():
        if name not in results:
            continue
        row = results[name]
        described = (getattr(work, name).__doc__ or "").strip().splitlines()[0].rstrip(".")
        theirs = _number(row["theirs"]) if "theirs" in row else "-"
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "-"
        lines.append(
            f"| {described} | {peer} | {_number(row['ours'])} | {theirs} | {ratio} | {goal} | "
            f"{'yes' if row['met'] else 'no'} | {row['turns']} | {row['note']} |"
        )
    names = ("torch", "transformers", "peft", "sentence-transformers", "scikit-learn")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    lines.append(f"\n{platform.system()} {platform.machine()}, {os.cpu_count()} cores; {versions}.")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main() -> None:
    if not (ROOT / work.BANKING).exists():
        print(f"skipped: {work.BANKING} is not beside the checkout")
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--turns", type=int, default=99, help="at most this many turns a row")
    asked = parser.parse_args()
    for name in asked.names or ROWS:
        try:
            results[name] = measure(name, asked.turns)
        except Exception as error:  # one row that fails leaves the others, and what it said before
            print(f"{name} failed: {type(error).__name__}: {error}", flush=True)
            continue
        print(name, results[name], flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
