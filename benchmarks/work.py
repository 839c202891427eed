"""The work that is timed: each function returns {"ours": s, "theirs": s, ...notes} of one turn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from . import peers

ROOT = Path(__file__).resolve().parents[1]
DATA = Path("../shared/data")
BANKING = DATA / "banking77"
# Questions to a bank, news, general questions, film reviews: 5 to about 200 tokens.
MIXED = ("banking77", "ag_news_7600", "trec_questions", "sst2")
LORA_ROWS, TOP_ROWS = 1280, 1280
# How much faster than the rest a new head learns, ours and the peer's alike where both tune.
HEAD_FACTOR = 30.0
# Accuracies on 1,000 rows that differ by less are called equal: about their standard error.
EQUAL = 0.015


def timed(function, *arguments):
    start = time.perf_counter()
    found = function(*arguments)
    return time.perf_counter() - start, found


def banking():
    from warmstart.data import load_data

    return load_data(str(ROOT / BANKING))


def five_shots():
    from warmstart.data import draw

    splits = banking()
    return splits.train.take(draw(splits.train.labels, 5, 0)), splits.test


def mixed_sentences(count: int):
    """As many from each of four data sets, in random order."""
    import pyarrow as pa

    from warmstart.data import load_data
    from warmstart.data.dataset import Dataset

    generator = np.random.default_rng(0)
    sets = [load_data(str(ROOT / DATA / name)).train.texts() for name in MIXED]
    texts = [found[i] for found in sets for i in generator.permutation(len(found))[: count // len(sets)]]
    return Dataset(pa.table({"text": [texts[i] for i in generator.permutation(len(texts))]}), {"text": "text"})


def encode() -> dict:
    """5,000 sentences of mixed length with MiniLM, tokenizing included, nothing cached."""
    from warmstart.engine.features import Encoder
    from warmstart.models import load_model
    from warmstart.models.libraries import import_transformers
    from warmstart.models.loaders import _minilm_folder

    import_transformers()
    from sentence_transformers import SentenceTransformer

    rows = mixed_sentences(5000)
    model, peer = load_model("minilm"), SentenceTransformer(str(_minilm_folder()), device="cpu")
    warm = rows.take(np.arange(64))
    Encoder(model, warm, store=False).features()
    peer.encode(warm.texts())
    ours, mine = timed(lambda: Encoder(model, rows, store=False).features().pooled().numpy())
    theirs, yours = timed(lambda: peer.encode(rows.texts(), normalize_embeddings=True))
    cosine = float((mine * yours).sum(1).min())
    return {"ours": ours, "theirs": theirs, "note": f"smallest cosine {cosine:.6f}", "cosine": cosine}


def _compare(methods: str, budget: str) -> tuple[float, float, str]:
    """Seconds of the whole command, import and report included, with an empty cache; accuracy of the best method."""
    import json

    with tempfile.TemporaryDirectory() as home:
        out = Path(home) / "board"
        words = [sys.executable, "-m", "warmstart", "compare", "minilm", str(ROOT / BANKING), "--shots", "5"]
        words += ["--seeds", "1", "--methods", methods, "--budget", budget, "--out", str(out)]
        environment = os.environ | {"WARMSTART_CACHE": str(Path(home) / "cache")}
        seconds, _ = timed(lambda: subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL))
        board = json.loads((out / "board.json").read_text())
    best = max(board["summary"], key=lambda item: item["mean"])
    return seconds, best["mean"], best["method"]


def closed_form() -> dict:
    """All methods without backpropagation against Trainer at its defaults, on the same 385 rows."""
    import json

    ours, accuracy, method = _compare("nearest_mean,knn,ridge,logistic,gda,feature_cache,zero_shot", "30s")
    words = [sys.executable, "-m", "benchmarks.peers"]
    theirs, done = timed(lambda: subprocess.run(words, check=True, cwd=ROOT, capture_output=True, text=True))
    peer_accuracy = json.loads(done.stdout.splitlines()[-1])["accuracy"]
    note = (
        f"both as processes, imports included; best of ours {method} {accuracy:.1%}, Trainer {peer_accuracy:.1%}; "
        "ours encodes all rows once more with random weights, a floor of every board"
    )
    return {"ours": ours, "theirs": theirs, "note": note, "better": accuracy > peer_accuracy}


def everything() -> dict:
    """All methods against Trainer tuned (20 epochs, 2e-4)."""
    train, test = five_shots()
    ours, accuracy, method = _compare("all", "12s")
    theirs, (found, tokenizer, _) = timed(lambda: peers.trainer(train, epochs=20, rate=2e-4))
    more, peer_accuracy = timed(peers.trainer_accuracy, found, tokenizer, test)
    note = f"best of ours {method} {accuracy:.1%}, tuned Trainer {peer_accuracy:.1%}"
    return {"ours": ours, "theirs": theirs + more, "note": note, "better": accuracy > peer_accuracy}


def _tune(tuner: str, rows, epochs: int, rate: float):
    from warmstart import ingredients
    from warmstart.engine.cast import Cast
    from warmstart.engine.learner import Learner, Settings
    from warmstart.engine.loop import train
    from warmstart.engine.rows import Rows
    from warmstart.models import load_model

    model = load_model("minilm")

    def work():
        settings = Settings(
            steps=epochs * (len(rows) // 32), batch_size=32, learning_rate=rate, head_factor=HEAD_FACTOR
        )
        objective = ingredients.build("objectives", "cross_entropy")
        learner = Learner(
            Cast(model), [(objective, 1.0)], ingredients.build("tuners", tuner), Rows(model, rows), settings
        )
        train(learner)

    seconds, _ = timed(work)
    return seconds, model


def _accuracy(model, rows) -> float:
    import torch

    from warmstart.engine.features import Encoder

    features = Encoder(model, rows, store=False).features().pooled()
    with torch.inference_mode():
        return float((model.attached["head"](features).argmax(1).numpy() == rows.labels).mean())


def _tuning(tuner: str, prepare, epochs: int, rate: float, count: int) -> dict:
    splits = banking()
    rows = splits.train.take(np.random.default_rng(0).permutation(len(splits.train))[:count])
    test = splits.test.take(np.random.default_rng(0).permutation(len(splits.test))[:1000])
    with tempfile.TemporaryDirectory() as cache:
        os.environ["WARMSTART_CACHE"] = cache
        ours, model = _tune(tuner, rows, epochs, rate)
        del os.environ["WARMSTART_CACHE"]
    found, tokenizer, theirs = peers.trainer(
        rows, epochs=epochs, batch_size=32, rate=rate, prepare=prepare, head_factor=HEAD_FACTOR
    )
    mine, peer = _accuracy(model, test), peers.trainer_accuracy(found, tokenizer, test)
    note = f"accuracy ours {mine:.1%}, theirs {peer:.1%}"
    return {"ours": ours, "theirs": theirs, "note": note, "better": mine >= peer - EQUAL}


def lora_epoch() -> dict:
    """An epoch of LoRA r = 8 on 1,280 rows of banking77, batches of 32."""
    return _tuning("lora", peers.lora_peer, 1, 1e-3, LORA_ROWS)


def top_blocks() -> dict:
    """Five epochs of the top two of six blocks, 1,280 rows of banking77, batches of 32; the cache starts empty."""
    return _tuning("freeze", peers.top_two_blocks, 5, 5e-4, TOP_ROWS)


def masked_reconstruction() -> dict:
    """A training step of ViT d = 192, depth 6, 32 x 32, patch 4, batch 64, decoder 96 wide and 2 deep."""
    import torch

    from warmstart import ingredients
    from warmstart.data.dataset import Dataset
    from warmstart.engine.cast import Cast
    from warmstart.engine.learner import Learner, Settings
    from warmstart.engine.loop import train
    from warmstart.engine.rows import Rows
    from warmstart.models.libraries import import_transformers
    from warmstart.models.vit import vit

    transformers = import_transformers()
    import pyarrow as pa

    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    table = pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)})
    rows = Dataset(table, {"image": "image"})
    model = vit(width=192, depth=6, heads=3, patch=4, image_size=32)
    marks: list[float] = []
    objective = ingredients.build("objectives", {"masked_reconstruction": {"width": 96, "depth": 2, "heads": 3}})
    learner = Learner(
        Cast(model), [(objective, 1.0)], ingredients.build("tuners", "full"), Rows(model, rows),
        Settings(steps=9, batch_size=64),
    )  # fmt: skip
    train(learner, on_step=lambda step, terms: marks.append(time.perf_counter()))
    config = transformers.ViTMAEConfig(
        hidden_size=192, num_hidden_layers=6, num_attention_heads=3, intermediate_size=768, image_size=32,
        patch_size=4, decoder_hidden_size=96, decoder_num_hidden_layers=2, decoder_num_attention_heads=3,
        decoder_intermediate_size=384, norm_pix_loss=True,
    )  # fmt: skip
    peer = transformers.ViTMAEForPreTraining(config).train()
    optimizer = torch.optim.AdamW([p for p in peer.parameters() if p.requires_grad], lr=1e-4)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        peer(batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return {"ours": float(np.median(np.diff(marks))), "theirs": float(np.median(seconds[1:])), "note": ""}


def gda() -> dict:
    """Fit on and predict 10,000 x 384 features of 77 classes."""
    import torch
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from warmstart import ingredients
    from warmstart.engine.examples import Examples

    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 77, (10_000,), generator=generator)
    centres = torch.randn(77, 384, generator=generator)
    features = centres[labels] + 3 * torch.randn(10_000, 384, generator=generator)
    train, classes = Examples(features=features, labels=labels), Examples(names=tuple(map(str, range(77))))
    predictor = ingredients.find("predictors", "gda")
    ours, scores = timed(lambda: predictor().fit(train, classes).scores(train))
    array = features.numpy()
    theirs, answers = timed(lambda: LinearDiscriminantAnalysis().fit(array, labels.numpy()).predict(array))
    agree = float((scores.argmax(1).numpy() == answers).mean())
    return {"ours": ours, "theirs": theirs, "note": f"the two agree on {agree:.1%} of the rows"}


_MEMORY = """
import os, sys, pyarrow as pa
from warmstart.data.dataset import Dataset
from warmstart.engine.budget import PeakMemory
from warmstart.engine.features import Encoder
from warmstart.models import load_model
model = load_model("minilm")
warm = Dataset(pa.table({"text": [f"warm up {i}" for i in range(64)]}), {"text": "text"})
Encoder(model, warm, store=False).features()
rows = Dataset(pa.table({"text": [f"row {i}" for i in range(100_000)]}), {"text": "text"})
before = PeakMemory().megabytes()
memory = PeakMemory()
features = Encoder(model, rows).features().pooled()
assert features.shape == (100_000, 384)
features.sum()
print(memory.megabytes() - before)
"""


def memory() -> dict:
    """Peak memory of encoding 100,000 short rows and reading their features, over the loaded model, in MB."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"WARMSTART_CACHE": cache}
        found = subprocess.run(
            [sys.executable, "-c", _MEMORY], check=True, env=environment, capture_output=True, text=True
        )
    return {"ours": float(found.stdout.split()[-1]), "theirs": None, "note": "MB over the model"}


def world() -> dict:
    """Scenes of `world` a second: 32 x 32 pixels with captions, by two processes side by side."""
    from concurrent.futures import ProcessPoolExecutor

    scenes = 4000
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_scenes, (16, 16)))
        ours, _ = timed(lambda: list(pool.map(_scenes, (scenes, scenes))))
    return {"ours": 2 * scenes / ours, "theirs": None, "note": "scenes a second"}


def _scenes(count: int) -> int:
    from warmstart.data import load_data

    return len(load_data({"world": {"roles": ["image", "text"], "train": count, "test": 1}}).train)


def help_() -> dict:
    """`warmstart --help`, as a process."""
    words = [sys.executable, "-m", "warmstart", "--help"]
    ours, _ = timed(lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL))
    return {"ours": ours, "theirs": None, "note": "seconds"}
