"""Kill -9 at random moments, resume, and find what an uninterrupted run finds."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from warmstart.compare.predictions import Predictions

KILLS = 10
LINE = "--shots 1,4 --seeds 2 --budget 0.5s --methods nearest_mean,logistic,linear_head,lora,full"


def command(bert, topics, out, *more):
    return [sys.executable, "-m", "warmstart", "compare", bert, topics, *LINE.split(), "--out", str(out), *more]


def killed_after(arguments, rows, seconds):
    """Start a comparison and kill it so long after it has finished so many trials; False where it was done before."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if (rows == 0 and " trials, about " in line) or line.startswith(f"[{rows}/"):
            time.sleep(seconds)
            process.kill()
            break
    process.communicate()
    assert process.returncode in (-9, 0), "".join(lines)
    return process.returncode == -9


def models_of(folder):
    paths = sorted(folder.glob("trials/*.model/**/*.safetensors"))
    return {str(path.relative_to(folder)): load_file(path) for path in paths}


@pytest.mark.slow
def test_ten_kills_change_neither_predictions_nor_weights(bert, topics, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(bert, topics, whole), check=True, capture_output=True)
    killed.mkdir()
    # The plan is made once, from measured times: both runs follow the same.
    shutil.copy(whole / "plan.json", killed / "plan.json")
    generator = random.Random(0)
    for _ in range(KILLS):
        again = command(bert, topics, killed, "--resume")
        assert killed_after(again, generator.randrange(3), generator.uniform(0, 0.5))
    subprocess.run(command(bert, topics, killed, "--resume"), check=True, capture_output=True)

    tables = [Predictions.read(folder / "predictions.parquet").table for folder in (whole, killed)]
    assert tables[0].equals(tables[1])
    boards = [json.loads((folder / "board.json").read_text()) for folder in (whole, killed)]
    assert [board["partial"] for board in boards] == [False, False]
    assert [row["accuracy"] for row in boards[0]["rows"]] == [row["accuracy"] for row in boards[1]["rows"]]
    expected, found = models_of(whole), models_of(killed)
    assert expected.keys() == found.keys()
    assert {path.split("-")[0] for path in found} >= {"trials/full", "trials/lora", "trials/linear_head"}
    for path, tensors in expected.items():
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, found[path][name], err_msg=f"{path} {name}")
    assert not list(killed.rglob(".*"))
    assert os.listdir(killed / "winner")


@pytest.mark.slow
def test_a_kill_while_the_board_is_written_leaves_a_board_to_finish(bert, topics, tmp_path):
    arguments = command(bert, topics, tmp_path / "o")
    killed_after(arguments, 28, 0.1)
    subprocess.run([*arguments, "--resume"], check=True, capture_output=True)
    assert json.loads((tmp_path / "o" / "board.json").read_text())["partial"] is False
