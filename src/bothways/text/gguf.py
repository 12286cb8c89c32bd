"""The tokenizer in a GGUF file, built as its model's tokenizer.json has it.

Byte-level BPE ("gpt2") is cut into words by a rule that the file only names: the rules are a table here, each as the
model of that name published it. SentencePiece's BPE ("llama") joins what has the best score, which is a merge list in
the order of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Engine
from tokenizers.processors import TemplateProcessing

from bothways.errors import BothwaysError, ModelError
from bothways.gguf import GgufFile, read_gguf
from bothways.text.families import QWEN2_WORDS
from bothways.text.published import Published
from bothways.text.special_tokens import Ids

_UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 2, 3, 4, 5, 6
"""Kinds of tokens in tokenizer.ggml.token_type; 1 is a plain one"""
_IDS = {"bos_token_id": ("bos",), "eos_token_id": ("eos", "eot", "eom")}
_NAMED = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad", "mask": "mask"}


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How a text is cut into words.

    cut     the steps before its bytes are spelt
    words   whether GPT-2's own rule is the last of them
    whole   a word that is a token is that token, whatever the merges say (ignore_merges)
    begins  whether a text begins with a token where the file does not say
    nfc     the text is composed first
    """

    cut: Callable[[], list[Any]] = list
    words: bool = False
    whole: bool = False
    begins: bool = False
    nfc: bool = False


def _split(words: str) -> Callable[[], list[Any]]:
    return lambda: [pre_tokenizers.Split(Regex(words), "isolated")]


_LLAMA3 = QWEN2_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "gpt-2": PreTokenizer(words=True),
    "smollm": PreTokenizer(lambda: [pre_tokenizers.Digits(individual_digits=True)], words=True),
    "qwen2": PreTokenizer(_split(QWEN2_WORDS), nfc=True),
    "llama-bpe": PreTokenizer(_split(_LLAMA3), whole=True, begins=True),
    "tekken": PreTokenizer(_split(_TEKKEN), whole=True, begins=True),
}
"""{tokenizer.ggml.pre: the rule}, of GPT-2, SmolLM 1 and 2, Qwen 2 to 3, Llama 3, and Mistral Nemo and later"""


def read_gguf_tokenizer(path: Path) -> Published:
    """The tokenizer in a GGUF file, with its special tokens and its chat template.

    Raises:
        ModelError: no GGUF file, a damaged one, or a kind of tokenizer that is not ours; it is named.
    """
    file = read_gguf(path)
    kind = file.need("tokenizer.ggml.model", str)
    tokens = file.need("tokenizer.ggml.tokens", list)
    kinds = file.get("tokenizer.ggml.token_type", list, [1] * len(tokens))
    if len(kinds) != len(tokens) or not all(isinstance(token, str) for token in tokens):
        file.refuse(f"expected {len(tokens):,} texts in tokenizer.ggml.tokens and as many kinds, got {len(kinds):,}")
    if kind not in ("gpt2", "llama"):
        file.refuse(f"tokenizer.ggml.model is {kind!r}; of GGUF files Bothways reads gpt2 and llama")
    # a place that the table has beyond its tokenizer's is no token
    vocabulary = {token: number for number, token in enumerate(tokens) if kinds[number] != _UNUSED}
    if len(vocabulary) != len(tokens) - kinds.count(_UNUSED):
        twice = next(token for number, token in enumerate(tokens) if vocabulary.get(token, number) != number)
        file.refuse(f"tokenizer.ggml.tokens holds {twice!r} twice")
    build = _byte_level if kind == "gpt2" else _sentence_piece
    try:
        engine, begins = build(file, vocabulary, kinds)
    except BothwaysError:
        raise
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise ModelError(f"{path}: its tokenizer does not fit together: {error}") from error
    engine.add_tokens(
        [
            AddedToken(token, normalized=False, special=kinds[number] == _CONTROL)
            for token, number in vocabulary.items()
            if kinds[number] in (_CONTROL, _USER)
        ]
    )
    names = _names(file, tokens)
    _frame(file, engine, names, begins=begins)
    fields = {f"{role}_token": names[theirs] for theirs, role in _NAMED.items() if theirs in names}
    template = file.get("tokenizer.chat_template", str)
    ids: Ids = {key: tuple(vocabulary[names[one]] for one in ours if one in names) for key, ours in _IDS.items()}
    return Published(engine, fields | ({"chat_template": template} if template else {}), ids, segments=False)


def _byte_level(file: GgufFile, vocabulary: dict[str, int], kinds: list[int]) -> tuple[Engine, bool]:
    name = file.need("tokenizer.ggml.pre", str)
    if name not in PRE_TOKENIZERS:
        file.refuse(
            f"tokenizer.ggml.pre is {name!r}, a rule for words that is not implemented here; Bothways knows "
            f"{', '.join(PRE_TOKENIZERS)}. If its model is one of theirs under another name, take its folder instead."
        )
    rule = PRE_TOKENIZERS[name]
    merges = [(merge[:1], *merge[1:].partition(" ")) for merge in map(str, file.need("tokenizer.ggml.merges", list))]
    pairs = [(begin + first, second) for begin, first, _, second in merges]
    engine = Engine(models.BPE(vocabulary, pairs, ignore_merges=rule.whole))
    engine.normalizer = normalizers.NFC() if rule.nfc else None
    spelt = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule.words)
    engine.pre_tokenizer = pre_tokenizers.Sequence([*cut, spelt]) if (cut := rule.cut()) else spelt
    engine.decoder = decoders.ByteLevel()
    return engine, rule.begins


def _sentence_piece(file: GgufFile, vocabulary: dict[str, int], kinds: list[int]) -> tuple[Engine, bool]:
    """As Llama 2's tokenizer.json has it: a space before the text, spaces as "▁", and no words."""
    scores = file.need("tokenizer.ggml.scores", list)
    if len(scores) != len(kinds) or not all(isinstance(score, float) for score in scores):
        file.refuse(f"expected {len(kinds):,} numbers in tokenizer.ggml.scores, one a token, got {len(scores):,}")
    unknown = next((token for token, number in vocabulary.items() if kinds[number] == _UNKNOWN), None)
    merges = _merges(vocabulary, scores, kinds)
    bytes_too = {f"<0x{byte:02X}>" for byte in range(256)} <= vocabulary.keys()
    engine = Engine(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=bytes_too))
    prefix = file.get("tokenizer.ggml.add_space_prefix", bool, True)
    begins = [normalizers.Prepend("▁")] if prefix else []
    engine.normalizer = normalizers.Sequence([*begins, normalizers.Replace(" ", "▁")])
    engine.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    strip = [decoders.Strip(" ", left=1)] if prefix else []
    engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return engine, True


def _merges(vocabulary: Mapping[str, int], scores: list[float], kinds: list[int]) -> list[tuple[str, str]]:
    """Of each plain token all pairs of tokens that make it, the best token's first."""
    plain = {token: number for token, number in vocabulary.items() if kinds[number] not in (_CONTROL, _UNKNOWN, _BYTE)}
    pairs = [
        (-scores[number], number, token[:cut], token[cut:])
        for token, number in plain.items()
        for cut in range(1, len(token))
        if token[:cut] in plain and token[cut:] in plain
    ]
    return [(first, second) for _, _, first, second in sorted(pairs)]


def _names(file: GgufFile, tokens: list[str]) -> dict[str, str]:
    """{name of a special token in GGUF: the token}, of those that the file names."""
    found = {}
    for name in {*_NAMED, *(one for ours in _IDS.values() for one in ours)}:
        key = f"tokenizer.ggml.{name}_token_id"
        number = file.get(key, int)
        if number is not None and not 0 <= number < len(tokens):
            file.refuse(f"{key} is {number}; expected one of its {len(tokens):,} tokens")
        if number is not None:
            found[name] = tokens[number]
    return found


def _frame(file: GgufFile, engine: Engine, names: Mapping[str, str], *, begins: bool) -> None:
    """What stands around a text: a token that begins it, and one that ends it, where the file wants them."""
    before = names.get("bos") if file.get("tokenizer.ggml.add_bos_token", bool, begins) else None
    behind = names.get("eos") if file.get("tokenizer.ggml.add_eos_token", bool, False) else None
    first, last = ([token] if token else [] for token in (before, behind))
    engine.post_processor = TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *(f"{token}:1" for token in first), "$B:1", *(f"{token}:1" for token in last)],
        special_tokens=[(token, engine.token_to_id(token)) for token in {*first, *last}],
    )
