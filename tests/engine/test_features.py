"""Features of frozen towers: repeatable bit for bit, whatever is asked for and whatever is cached."""

import multiprocessing

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import tiny_rows

from warmstart.data.dataset import Dataset
from warmstart.engine import features as module
from warmstart.engine.features import Encoder, _padded_widths
from warmstart.engine.precision import autocast
from warmstart.models.model import Model

WORDS = ["the", "a", "cat", "dog", "card", "bank", "lost", "my", "is", "where", "red", "blue"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def texts(count: int, seed: int = 0) -> Dataset:
    """Sentences of 1 to 28 words."""
    rng = np.random.default_rng(seed)
    rows = [" ".join(rng.choice(WORDS, rng.integers(1, 29))) for _ in range(count)]
    return Dataset(pa.table({"text": rows}), {"text": "text"}, name="texts")


def segments(cache) -> list:
    return sorted(cache.glob("*/segment-*"))


@pytest.mark.parametrize("family", ["bert", "gpt2", "clip", "mobilenet"])
def test_a_row_is_the_same_bit_for_bit_whichever_rows_are_asked_for(tiny, family):
    model = tiny(family)
    rows = texts(150) if "text" in model.towers else tiny_rows("image")
    encoder = Encoder(model, rows, store=False)
    whole = encoder.features().pooled()
    some = np.random.default_rng(1).permutation(len(rows))[: len(rows) // 3]
    assert torch.equal(encoder.features(some).pooled(), whole[some])
    for row in some[:5]:
        assert torch.equal(Encoder(model, rows.take([row]), store=False).features().pooled()[0], whole[row])


def test_cached_and_uncached_features_are_equal_in_any_order_and_from_any_number_of_segments(tiny):
    model, rows = tiny("bert"), texts(60)
    fresh = Encoder(model, rows, store=False).features().pooled()
    encoder = Encoder(model, rows)
    for some in ([3, 1, 2], [50, 3, 59, 7], list(range(59, -1, -1)), [0, 0, 5, 0]):
        assert torch.equal(encoder.features(np.array(some)).pooled(), fresh[some])
    assert torch.equal(Encoder(model, rows).features().pooled(), fresh)


def test_token_states_hold_the_real_tokens_of_every_row(tiny):
    model, rows = tiny("bert"), texts(40)
    encoder = Encoder(model, rows, depth=2)
    whole = encoder.features()
    assert (np.diff(whole.starts) == encoder.inputs.lengths).all()
    some = np.array([7, 7, 30, 0])
    padded = encoder.features(some).padded(np.arange(4))
    assert torch.equal(padded, whole.padded(some))
    for place, row in enumerate(some):
        length = encoder.inputs.lengths[row]
        assert torch.equal(padded[place, :length], torch.from_numpy(whole.data[whole.starts[row] :][:length]))
        assert (padded[place, length:] == 0).all()


def test_states_of_images_have_one_shape(tiny):
    states = Encoder(tiny("vit"), tiny_rows("image"), depth=1).features()
    assert states.padded(np.array([3, 1])).shape == (2, 17, 16)


def test_features_equal_the_model_run_row_by_row(tiny):
    model, rows = tiny("bert"), texts(30)
    encoder = Encoder(model, rows, store=False, precision="no")
    found = encoder.features().pooled()
    with torch.no_grad():
        for row in range(30):
            torch.testing.assert_close(found[row], model.tower("text").encode(encoder.inputs.batch([row])).pooled[0])


def test_half_precision_is_what_autocast_computes(tiny):
    model, rows = tiny("bert"), texts(8)
    encoder = Encoder(model, rows, store=False, precision="bf16")
    with torch.no_grad(), autocast(model.device, "bf16"):
        expected = model.tower("text").encode(encoder.inputs.batch(np.arange(8))).pooled
    cosine = torch.nn.functional.cosine_similarity(encoder.features().pooled(), expected.float())
    assert cosine.min() > 0.999


def test_encoding_leaves_the_model_as_it_was(tiny):
    model, rows = tiny("bert"), texts(8)
    model.train()
    model.backbone.get_submodule("encoder.layer.0").eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = {name: module.training for name, module in model.named_modules()}
    Encoder(model, rows, store=False).features()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert not any("forward" in vars(module) for module in model.modules())
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_equal_rows_are_computed_once(tiny):
    model, rows = tiny("bert"), texts(10)
    encoder = Encoder(model, rows.take([1, 2, 1, 1, 2]))
    assert torch.equal(
        encoder.features().pooled(), Encoder(model, rows, store=False).features([1, 2, 1, 1, 2]).pooled()
    )
    (segment,) = encoder.store.segments()
    assert len(segment.keys) == 2


def test_only_missing_rows_are_computed(tiny, monkeypatch):
    model, rows = tiny("bert"), texts(30)
    Encoder(model, rows).features(np.arange(20))
    computed = []
    batch = Encoder._batch

    def spied(self, rows, positions, *arguments):
        computed.extend(rows[positions].tolist())
        return batch(self, rows, positions, *arguments)

    monkeypatch.setattr(Encoder, "_batch", spied)
    Encoder(model, rows).features()
    assert sorted(computed) == list(range(20, 30))


def test_what_changes_the_features_changes_their_place(tiny):
    rows = texts(4)

    def place(model: Model, **arguments) -> str:
        return Encoder(model, rows, **arguments).store.folder.name

    base = place(tiny("bert"))
    assert place(tiny("bert")) == base
    weights, pooling, length = tiny("bert"), tiny("bert"), tiny("bert")
    with torch.no_grad():
        next(weights.backbone.parameters()).view(-1)[0] += 1
    pooling.tower().pool = "first"
    prepare = length.tower().prepare

    def shorter(dataset, role):
        inputs = prepare(dataset, role)
        inputs.longest = 8
        return inputs

    length.tower().prepare = shorter
    others = [place(weights), place(pooling), place(length), place(tiny("bert"), depth=1)]
    others.append(place(tiny("bert"), precision="fp16"))
    assert len({base, *others}) == 6


def test_how_pixels_are_normalised_is_part_of_the_place(tiny):
    rows, model, other = tiny_rows("image"), tiny("vit"), tiny("vit")
    inputs = other.tower().prepare(rows, "image")
    darker = type(inputs)(rows, 16, [0.4] * 3, [0.5] * 3)
    assert Encoder(model, rows).store.folder != Encoder(other, rows, inputs=darker).store.folder


def test_a_damaged_segment_is_computed_again(tiny, cache):
    model, rows = tiny("bert"), texts(12)
    before = Encoder(model, rows).features().pooled().clone()
    (segment,) = segments(cache)
    content = bytearray((segment / "data.npy").read_bytes())
    content[-5] ^= 1
    (segment / "data.npy").write_bytes(content)
    assert torch.equal(Encoder(model, rows).features().pooled(), before)
    assert segments(cache) != [segment]


def test_large_results_are_mapped_from_disk_and_equal(tiny, monkeypatch):
    model, rows = tiny("bert"), texts(40)
    small = Encoder(model, rows, store=False).features().pooled()
    monkeypatch.setattr(module, "_IN_MEMORY", 0)
    for encoder in (Encoder(model, rows, store=False), Encoder(model, rows)):
        assert isinstance(encoder.features().data, np.memmap)
        assert torch.equal(encoder.features().pooled(), small)
        assert torch.equal(encoder.features(np.array([9, 3])).pooled(), small[[9, 3]])


def test_writing_into_features_leaves_the_cache_alone(tiny):
    model, rows = tiny("bert"), texts(5)
    first = Encoder(model, rows).features().pooled()
    kept = first.clone()
    first += 1
    assert torch.equal(Encoder(model, rows).features().pooled(), kept)


def test_rows_as_long_as_the_encoder_reads_are_not_padded_beyond_it(tiny):
    model = tiny("bert")
    rows = Dataset(pa.table({"text": ["cat " * 60, "dog"]}), {"text": "text"})
    prepare = model.tower().prepare
    short = prepare(rows, "text")
    short = type(short)(short._tokenizer, rows.texts(), 30)
    encoder = Encoder(model, rows, inputs=short, store=False)
    widths = []
    model.backbone.embeddings.register_forward_hook(lambda m, args, out: widths.append(out.shape[1]))
    encoder.features()
    assert max(widths) == 30
    assert short.truncated == 1


def test_no_rows_are_refused(tiny):
    with pytest.raises(ValueError, match="no rows"):
        Encoder(tiny("bert"), texts(3)).features(np.array([], int))


def test_padded_widths_grow_in_steps_of_8_then_16_then_32():
    lengths = np.array([0, 1, 8, 9, 64, 65, 80, 81, 128, 129, 512])
    assert _padded_widths(lengths).tolist() == [8, 8, 8, 16, 64, 80, 80, 96, 128, 160, 512]


def _encode(model, rows, barrier, answers):
    torch.set_num_threads(1)
    barrier.wait()
    answers.put(Encoder(model, rows).features().pooled().numpy().copy())


@pytest.mark.slow
def test_two_processes_may_fill_one_store_at_once(tiny, cache):
    model, rows = tiny("bert"), texts(200)
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_encode, args=(model, rows, barrier, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    first, second = answers.get(timeout=120), answers.get(timeout=120)
    for worker in workers:
        worker.join(timeout=30)
    assert (first == second).all()
    assert torch.equal(Encoder(model, rows).features().pooled(), torch.from_numpy(first))
    assert not list(cache.glob("*/tmp-*"))
