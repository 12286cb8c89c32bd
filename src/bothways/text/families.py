"""What the tokenizer classes of the families that Bothways loads build from a vocabulary and a few fields.

Each does what the class of that name does in version 5 of transformers, with what it assumes where a field is absent.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Engine
from tokenizers.processors import RobertaProcessing, TemplateProcessing

Fields = dict[str, Any]
GENERAL = "PreTrainedTokenizer"
"""The class that takes all of a tokenizer.json."""


@dataclass(frozen=True, slots=True)
class TokenizerFamily:
    """model     the type of its tokenizer.json's model
    defaults  fields where tokenizer_config.json is silent
    build     (vocabulary, tokenizer.json or None, fields) -> engine without added tokens
    finish    sets the template, once the added tokens have their numbers
    needs     special tokens that it cannot be without
    resets    its special tokens take no white space, whatever the files say
    segments  transformers gives token_type_ids, unless model_input_names says otherwise
    """

    model: str
    defaults: Mapping[str, Any]
    build: Callable[[Any, Mapping[str, Any] | None, Fields], Engine]
    finish: Callable[[Engine, Fields], None] = lambda engine, fields: None
    needs: tuple[str, ...] = ()
    resets: bool = False
    segments: bool = False


def _bert(vocabulary: Any, spec: Mapping[str, Any] | None, fields: Fields) -> Engine:
    engine = Engine(models.WordPiece(vocabulary, unk_token=str(fields["unk_token"])))
    engine.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=fields["tokenize_chinese_chars"],
        strip_accents=fields["strip_accents"],
        lowercase=fields["do_lower_case"],
    )
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    return engine


def _framed(engine: Engine, fields: Fields, *, opens: str, closes: str, pair: str) -> None:
    """Two special tokens, by the names of their fields, around a text; in a `pair`, {0} and {1}."""
    first, last = str(fields[opens]), str(fields[closes])
    engine.post_processor = TemplateProcessing(
        single=[first, "$A", last],
        pair=[part.format(first, last) for part in pair.split()],
        special_tokens=_numbered(engine, fields, opens, closes),
    )


def _byte_pairs(vocabulary: Any, spec: Mapping[str, Any] | None, **settings: Any) -> models.BPE:
    merges = spec["model"]["merges"] if spec else []
    parted = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    return models.BPE(vocabulary, [(first, second) for first, second in parted], **settings)


def _gpt2(vocabulary: Any, spec: Mapping[str, Any] | None, fields: Fields) -> Engine:
    engine = Engine(_byte_pairs(vocabulary, spec, continuing_subword_prefix="", end_of_word_suffix=""))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=fields["add_prefix_space"])
    engine.decoder = decoders.ByteLevel()
    return engine


def _framed_as_roberta(engine: Engine, fields: Fields) -> None:
    sep, cls = _numbered(engine, fields, "sep_token", "cls_token")
    engine.post_processor = RobertaProcessing(sep, cls, fields["trim_offsets"], fields["add_prefix_space"])


def _numbered(engine: Engine, fields: Fields, *roles: str) -> list[tuple[str, int]]:
    """The special tokens of roles, with their numbers; the added tokens are there by now."""
    vocabulary = engine.get_vocab(with_added_tokens=True)
    return [(str(fields[role]), vocabulary[str(fields[role])]) for role in roles]


def _xlm_roberta(vocabulary: Any, spec: Mapping[str, Any] | None, fields: Fields) -> Engine:
    engine = Engine(models.Unigram([(token, score) for token, score in vocabulary], unk_id=3, byte_fallback=False))
    if (charsmap := _charsmap(spec or {})) is not None:
        engine.normalizer = normalizers.Precompiled(charsmap)
    scheme = "always" if fields["add_prefix_space"] else "never"
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    engine.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return engine


def _charsmap(spec: Mapping[str, Any]) -> bytes | None:
    """SentencePiece's own table of normal forms, where tokenizer.json has one."""
    normalizer = spec.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    return next(
        (base64.b64decode(step["precompiled_charsmap"]) for step in steps if step.get("type") == "Precompiled"), None
    )


QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _qwen2(vocabulary: Any, spec: Mapping[str, Any] | None, fields: Fields) -> Engine:
    engine = Engine(_byte_pairs(vocabulary, spec, continuing_subword_prefix="", end_of_word_suffix=""))
    engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=bool(fields["add_prefix_space"]), use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    return engine


def _llama(vocabulary: Any, spec: Mapping[str, Any] | None, fields: Fields) -> Engine:
    prefix = True if fields["add_prefix_space"] is None else fields["add_prefix_space"]
    scheme = ("always" if fields["legacy"] else "first") if prefix else "never"
    engine = Engine(_byte_pairs(vocabulary, spec, fuse_unk=True, byte_fallback=True))
    engine.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    strip = [decoders.Strip(" ", left=1)] if prefix else []
    engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return engine


_BERT = {name: f"[{name[:-6].upper()}]" for name in ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")}
_ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_END = "<|endoftext|>"

FAMILIES = {
    "BertTokenizer": TokenizerFamily(
        "WordPiece",
        {**_BERT, "do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None},
        _bert,
        partial(_framed, opens="cls_token", closes="sep_token", pair="{0} $A {1} $B:1 {1}:1"),
        ("unk_token", "cls_token", "sep_token"),
        segments=True,
    ),
    "RobertaTokenizer": TokenizerFamily(
        "BPE",
        {**_ROBERTA, "add_prefix_space": False, "trim_offsets": True},
        _gpt2,
        _framed_as_roberta,
        ("cls_token", "sep_token"),
    ),
    "XLMRobertaTokenizer": TokenizerFamily(
        "Unigram",
        {**_ROBERTA, "add_prefix_space": True},
        _xlm_roberta,
        partial(_framed, opens="bos_token", closes="eos_token", pair="{0} $A {1} {1} $B {1}"),
        ("bos_token", "eos_token"),
    ),
    "Qwen2Tokenizer": TokenizerFamily(
        "BPE",
        {"unk_token": _END, "eos_token": _END, "pad_token": _END, "add_prefix_space": None},
        _qwen2,
        resets=True,
    ),
    "GPT2Tokenizer": TokenizerFamily(
        "BPE", {"unk_token": _END, "bos_token": _END, "eos_token": _END, "add_prefix_space": False}, _gpt2
    ),
    "LlamaTokenizer": TokenizerFamily(
        "BPE",
        {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "legacy": False, "add_prefix_space": None},
        _llama,
    ),
}
FAMILIES["DistilBertTokenizer"] = replace(FAMILIES["BertTokenizer"], segments=False)
ALIASES = {
    "ElectraTokenizer": "BertTokenizer",
    "BartTokenizer": "RobertaTokenizer",
    "PythonBackend": GENERAL,
    "TokenizersBackend": GENERAL,
}
"""Other names of these classes, without the Fast behind them."""
OF_MODEL = {
    "bert": "BertTokenizer",
    "electra": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "qwen3": "Qwen2Tokenizer",
    "gpt2": "GPT2Tokenizer",
    "distilbert": "BertTokenizer",
}
"""{model_type of config.json: its class where no file names one}; of others it is the general one."""
OVERRULED = {"qwen2": "Qwen2Tokenizer", "modernbert": GENERAL, "modernbert-decoder": GENERAL}
"""{model_type: its class, whatever its files name}: transformers takes those of the hub to be wrong"""
