import copy
import math

import pytest
import torch
from torch import nn

from warmstart.models import ModelError, count
from warmstart.models.audio_encoder import audio_encoder
from warmstart.tuners.scale_shift import ScaleShift
from warmstart.tuners.soft_prompt import SoftPrompt

LENGTH, WIDTH, BLOCKS, HEADS = 3, 16, 3, 2
IDS = torch.arange(4, 12).view(2, 4)
PIXELS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def prompted(tiny, family: str, form: str, **arguments):
    torch.manual_seed(1)
    model = tiny(family).eval()
    SoftPrompt(LENGTH, form, **arguments).apply(model)
    return model


def blocks_of(model):
    return list(model.tower().blocks)


@torch.no_grad()
@pytest.mark.faithful("petl-ast")
@pytest.mark.parametrize("form", ["shallow", "deep"])
def test_equals_prompts_written_into_the_sequence_of_a_vit(tiny, form):
    model, plain = prompted(tiny, "vit", form), tiny("vit").eval().backbone
    blocks = blocks_of(model)
    state = plain.embeddings(PIXELS)
    prompts = blocks[0].prompts.expand(2, -1, -1)
    for i, layer in enumerate(plain.layers):
        if form == "deep":
            prompts = blocks[i].prompts.expand(2, -1, -1)
        state = layer(torch.cat([state[:, :1], prompts, state[:, 1:]], 1))
        prompts, state = state[:, 1 : 1 + LENGTH], torch.cat([state[:, :1], state[:, 1 + LENGTH :]], 1)
    found = model.backbone(pixel_values=PIXELS).last_hidden_state
    torch.testing.assert_close(found, plain.layernorm(state), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.faithful("unified-petl")
def test_prefix_is_a_gate_between_attention_and_the_prefix(tiny):
    """h = (1 - lam) softmax(q K) V + lam softmax(q P_k) P_v, lam the prefix's share of the attention."""
    model = prompted(tiny, "bert", "prefix")
    block = blocks_of(model)[1]
    block.keys.normal_()
    block.values.normal_()
    attention, found = block.base_layer.attention.self, {}
    attention.register_forward_hook(lambda module, args, output: found.update(x=args[0], h=output[0]))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    model.backbone(input_ids=IDS, attention_mask=mask)

    def heads(states):
        return states.unflatten(-1, (HEADS, -1)).transpose(-3, -2)

    query, key, value = (heads(part(found["x"])) for part in (attention.query, attention.key, attention.value))
    scale = (WIDTH // HEADS) ** -0.5
    scores = (query @ key.transpose(-2, -1) * scale).masked_fill(mask[:, None, None] == 0, -math.inf)
    prefix = query @ heads(block.keys).transpose(-2, -1) * scale
    lam = prefix.exp().sum(-1, keepdim=True)
    lam = lam / (lam + scores.exp().sum(-1, keepdim=True))
    mixed = (1 - lam) * (scores.softmax(-1) @ value) + lam * (prefix.softmax(-1) @ heads(block.values))
    torch.testing.assert_close(found["h"], mixed.transpose(1, 2).flatten(2), rtol=1e-4, atol=1e-5)


def real_tokens(family: str, model, mask, ids=IDS):
    return model.backbone(input_ids=ids, attention_mask=mask).last_hidden_state


@torch.no_grad()
@pytest.mark.parametrize("form", ["shallow", "deep", "prefix"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "gpt2", "llama"])
def test_padding_changes_nothing(tiny, family, form):
    model = prompted(tiny, family, form)
    short = real_tokens(family, model, torch.ones(1, 2, dtype=torch.long), IDS[1:, :2])
    padded = real_tokens(family, model, torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]))
    torch.testing.assert_close(padded[1:, :2], short, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("form", ["shallow", "deep", "prefix"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_no_token_sees_a_later_one_through_the_prompts(tiny, family, form, masked):
    model = prompted(tiny, family, form)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]) if masked else torch.ones(2, 4, dtype=torch.long)
    before = real_tokens(family, model, mask)
    other = IDS.clone()
    other[:, 2] = 13
    after = real_tokens(family, model, mask, other)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2])


@torch.no_grad()
@pytest.mark.parametrize("form", ["shallow", "deep"])
def test_prompts_see_the_tokens_where_tokens_see_each_other(tiny, form):
    """What the prompts make of the tokens reaches the tokens of the next block in shallow prompts alone."""
    model = prompted(tiny, "bert", form)
    first, found = blocks_of(model)[0], {}
    first.base_layer.register_forward_hook(lambda module, args, output: found.update(states=output))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    real_tokens("bert", model, mask)
    before = found["states"][:, :LENGTH]
    other = IDS.clone()
    other[:, 3] = 13
    real_tokens("bert", model, mask, other)
    after = found["states"][:, :LENGTH]
    assert not torch.allclose(after[0], before[0])
    torch.testing.assert_close(after[1], before[1])


@torch.no_grad()
def test_pooled_prompts_are_averaged_with_the_tokens():
    torch.manual_seed(0)
    model = audio_encoder(width=16, depth=2, heads=2, patch=4, frames=8, mel_bins=8)
    model.tower().skip_tokens = 0
    SoftPrompt(LENGTH, "deep", pooled=True).apply(model)
    found = {}
    last = blocks_of(model)[-1]
    last.base_layer.register_forward_hook(lambda module, args, output: found.update(states=output))
    pooled = model.tower().encode({"input_values": torch.randn(2, 8, 8)}).pooled
    assert found["states"].shape[1] == LENGTH + 2 + 4
    torch.testing.assert_close(pooled, model.backbone.layernorm(found["states"]).mean(1))


@torch.no_grad()
@pytest.mark.parametrize("form", ["shallow", "deep", "prefix"])
def test_pooling_and_states_have_the_row_s_own_tokens(tiny, form):
    model = prompted(tiny, "vit", form)
    encoding = model.tower().encode({"pixel_values": PIXELS}, keep=["block.0", "block.1", "block.2"])
    assert encoding.tokens.shape[1] == 17
    assert {states.shape[1] for states in encoding.states.values()} == {17}
    assert model.tower().feature_map(encoding).shape == (2, WIDTH, 4, 4)


@pytest.mark.parametrize(
    ("form", "trains"), [("shallow", LENGTH), ("deep", BLOCKS * LENGTH), ("prefix", 2 * BLOCKS * LENGTH)]
)
def test_trains_the_prompts_alone(tiny, form, trains):
    model = prompted(tiny, "bert", form)
    assert count([p for _, p in model.trainable()]) == trains * WIDTH


@torch.no_grad()
@pytest.mark.parametrize("form", ["deep", "prefix"])
def test_layers_inside_prompted_blocks_can_be_tuned_afterwards(tiny, form):
    alone, model, tuner = tiny("bert"), prompted(tiny, "bert", form), ScaleShift(noise=0.1)
    tuner.apply(alone)
    tuner.apply(model)
    assert count([p for _, p in model.trainable()]) == count([p for _, p in alone.trainable()])
    before = model.backbone(input_ids=IDS).last_hidden_state
    tuner.fold(model)
    torch.testing.assert_close(model.backbone(input_ids=IDS).last_hidden_state, before, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("form", ["shallow", "deep", "prefix"])
def test_a_copy_reads_its_own_prompts(tiny, form):
    model = prompted(tiny, "vit", form)
    before = model.backbone(pixel_values=PIXELS).last_hidden_state
    twin = copy.deepcopy(model)
    for _, parameter in model.trainable():
        parameter.add_(1.0)
    torch.testing.assert_close(twin.backbone(pixel_values=PIXELS).last_hidden_state, before)


def test_can_be_copied_after_training_forwards(tiny):
    model = prompted(tiny, "vit", "shallow").train()
    model.backbone(pixel_values=PIXELS).last_hidden_state.sum().backward()
    copy.deepcopy(model)


@torch.no_grad()
def test_a_prefix_writes_from_a_cache_and_prompts_refuse_to(tiny):
    model = prompted(tiny, "gpt2", "prefix")
    whole = model.backbone(input_ids=IDS).last_hidden_state
    start = model.backbone(input_ids=IDS[:, :3], use_cache=True)
    rest = model.backbone(input_ids=IDS[:, 3:], past_key_values=start.past_key_values, use_cache=True)
    torch.testing.assert_close(rest.last_hidden_state, whole[:, 3:], rtol=1e-4, atol=1e-5)
    model = prompted(tiny, "gpt2", "deep")
    start = model.backbone(input_ids=IDS[:, :3], use_cache=True)
    with pytest.raises(ModelError, match="does not write tokens from a cache"):
        model.backbone(input_ids=IDS[:, 3:], past_key_values=start.past_key_values, use_cache=True)


def test_attention_that_is_not_torchs_own_is_refused_in_one_line(tiny):
    model = tiny("bert")
    model.backbone.set_attn_implementation("eager")
    SoftPrompt(form="prefix").apply(model)
    with pytest.raises(ModelError, match="BertLayer does not compute attention with torch's"):
        model.backbone(input_ids=IDS)


def test_what_it_does_not_fit_is_one_line(tiny):
    assert "the attention of this image encoder is not known" in SoftPrompt.unfit(tiny("mobilenet"))
    with pytest.raises(ValueError, match="form is one of shallow, deep, prefix, not 'wide'"):
        SoftPrompt(form="wide")
    with pytest.raises(ValueError, match="this text encoder does not pool the mean of a fixed number"):
        SoftPrompt(pooled=True).apply(tiny("bert"))
    model = prompted(tiny, "bert", "deep")
    with pytest.raises(ModelError, match="prompts of another shape"):
        SoftPrompt(LENGTH + 1).apply(model)


def test_prompts_are_drawn_with_variance_one_over_d(tiny):
    model = tiny("bert")
    SoftPrompt(200, "shallow").apply(model)
    prompts = model.tower().blocks[0].prompts
    assert prompts.abs().max() <= math.sqrt(3 / WIDTH)
    assert prompts.var().item() == pytest.approx(1 / WIDTH, rel=0.1)


def test_keys_and_values_of_heads_that_queries_share(tiny):
    model = prompted(tiny, "llama", "prefix")
    assert model.tower().blocks[0].keys.shape == (LENGTH, WIDTH // HEADS)
    assert isinstance(model.tower().blocks[0].keys, nn.Parameter)
