"""Tokenizers that are made here, without a network: from a word list, from bytes, or trained on an embedded text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from .libraries import import_transformers
from .model import ModelError

MODES = ("[R]", "[S]", "[X]")
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "bos_token": "[BOS]",
    "eos_token": "[EOS]",
    "sep_token": "[SEP]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
# What is put around a text, and around a pair of texts.
FRAMES = {
    "sentence": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "lines": ("[BOS] $A [EOS]", "[BOS] $A [SEP] $B [EOS]"),
    "closed": ("$A [EOS]", "$A [SEP] $B [EOS]"),
}


def make_tokenizer(spec: str, *, frame: str, sentinels: int = 0, modes: bool = False, max_length: int = 64):
    """A PreTrainedTokenizerFast with the tokens [PAD] [UNK] [BOS] [EOS] [SEP] [CLS] [MASK], ids 0 to 6 in that order.

    spec: `world` or `facts`, a word each of that data's vocabulary; `words:a b c`, of these words; `bytes`, a token
        each byte of UTF-8; `bpe:SOURCE:SIZE`, byte pair encoding of SIZE tokens trained on an embedded text
        (`stdlib-docs`).
    frame: what surrounds a text: `sentence` [CLS] text [SEP]; `lines` [BOS] text [EOS]; `closed` text [EOS].
    sentinels: adds `<extra_0>` ... as in T5. modes: adds [R] [S] [X] as in UL2. Both follow the special tokens.
    Raises ModelError, one line, for a specification of another kind.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    added = [f"<extra_{i}>" for i in range(sentinels)] + (list(MODES) if modes else [])
    first = [*SPECIAL.values(), *added]
    kind, _, rest = spec.partition(":")
    if kind not in _KINDS:
        raise ModelError(f"no tokenizer {spec!r}: write world, facts, words:A B C, bytes or bpe:SOURCE:SIZE")
    # A copy, since what is trained is kept, and extended here.
    tokenizer = Tokenizer.from_str(_KINDS[kind](rest, tuple(first)).to_str())
    # In the vocabulary already, so no id changes: declared special, so that decoding leaves them out.
    tokenizer.add_special_tokens(first)
    single, pair = FRAMES[frame]
    ids = [(token, tokenizer.token_to_id(token)) for token in SPECIAL.values()]
    tokenizer.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return import_transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, extra_special_tokens=added, **SPECIAL
    )


def _words(rest: str, first: tuple[str, ...]):
    return _word_level(rest.split(), first)


def _world(rest: str, first: tuple[str, ...]):
    from ..data.world.lexicon import vocabulary

    return _word_level(vocabulary(), first)


def _facts(rest: str, first: tuple[str, ...]):
    from ..data.facts import vocabulary

    return _word_level(vocabulary(), first)


def _word_level(words: Sequence[str], first: tuple[str, ...]):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*first, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    # Words, in which an underscore may stand, and every other mark by itself.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True)
    return tokenizer


def _bytes(rest: str, first: tuple[str, ...]):
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*first, *alphabet])}
    return _byte_level(Tokenizer(models.BPE(vocab=vocabulary, merges=[])))


def _bpe(rest: str, first: tuple[str, ...]):
    source, _, size = rest.partition(":")
    if source not in TEXTS or not size.isdigit():
        raise ModelError(f"no tokenizer 'bpe:{rest}': write bpe:SOURCE:SIZE with SOURCE one of {', '.join(TEXTS)}")
    if int(size) < 256 + len(first):
        raise ModelError(f"bpe:{rest} is too small: 256 bytes and {len(first)} special tokens come first")
    return _trained(source, int(size), first)


@functools.cache
def _trained(source: str, size: int, first: tuple[str, ...]):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = _byte_level(Tokenizer(models.BPE()))
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(first),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS[source](), trainer)
    return tokenizer


def _byte_level(tokenizer):
    from tokenizers import decoders, pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _stdlib_docs() -> Sequence[str]:
    from ..data.embedded_text import stdlib_docs

    return stdlib_docs()


_KINDS: dict[str, Callable] = {"world": _world, "facts": _facts, "words": _words, "bytes": _bytes, "bpe": _bpe}
TEXTS: dict[str, Callable[[], Sequence[str]]] = {"stdlib-docs": _stdlib_docs}
