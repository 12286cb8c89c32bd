"""Small tokenizer folders of every family, as transformers saves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, pre_tokenizers, processors

from tests.text.test_taken import byte_level

transformers = pytest.importorskip("transformers", reason="needs the extra bothways[hf]")

LETTERS = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!'éàếảÀđ世界कखहिन्दीड़़"))
WORDS = ["the", "The", "dog", "Dog", "dogs", "café", "cafe", "अब", "हिन्दी", "MASK", "xx"]
TEXTS = [
    "The Dog's café, cafe!  naïve 世界 xxdogs",
    " Tiếng Việt có dấu; हिन्दी लड़का लड़का ",
    "HELLO  12345 \t foo<new>bar xx the",
    "cafe\u0301 Vie\u0323\u0302t",
]
"""Letters composed and not, cases, marks, ideographs, spaces of every kind."""


def write(folder: Path, name: str, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def wordpieces() -> list[str]:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]
    return [*specials, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS), "##dogs"]


def bert(folder: Path, *, kind: str = "bert", **said: Any) -> None:
    """A vocab.txt."""
    write(folder, "config.json", {"model_type": kind})
    write(folder, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False, **said})
    (folder / "vocab.txt").write_text("\n".join(wordpieces()) + "\n", encoding="utf-8")


def electra(folder: Path) -> None:
    """A tokenizer.json, and the class by its older name."""
    tokens = {token: number for number, token in enumerate(wordpieces())}
    transformers.BertTokenizer(vocab=tokens).save_pretrained(folder)
    _amend(folder, "electra", tokenizer_class="ElectraTokenizerFast")


def roberta(folder: Path) -> None:
    engine = byte_level()
    tokens = [*_ROBERTA[:4], *engine.get_vocab(), "Ġthe", "do", "dog", "Ġd", "<mask>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [("d", "o"), ("do", "g"), ("Ġ", "d")]
    mask = AddedToken("<mask>", lstrip=True, special=True)
    transformers.RobertaTokenizer(vocab=vocabulary, merges=merges, mask_token=mask).save_pretrained(folder)
    _amend(folder, "roberta")


def xlm_roberta(folder: Path) -> None:
    scored = [*((name, 0.0) for name in _ROBERTA[:4]), *((word, -2.0) for word in ("▁the", "▁The", "dog", "▁dog"))]
    scored += [("▁", -3.0), *((letter, -4.0) for letter in LETTERS), ("<mask>", 0.0)]
    transformers.XLMRobertaTokenizer(vocab=scored).save_pretrained(folder)
    _amend(folder, "xlm-roberta")


def llama(folder: Path) -> None:
    """SentencePiece's BPE with spaces as letters."""
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, "▁", *LETTERS, "▁t", "▁th", "▁the", "do", "dog"]
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("d", "o"), ("do", "g")]
    engine = transformers.LlamaTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=merges)
    engine.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    engine.save_pretrained(folder)
    _amend(folder, "llama")


def llama3(folder: Path) -> None:
    """The general class, bytes as letters, no token that pads or masks."""
    _general(folder, "llama", "<|begin_of_text|>", "<|end_of_text|>", post="<|begin_of_text|>")


def eurobert(folder: Path) -> None:
    _general(folder, "eurobert", "<|begin_of_text|>", "<|end_of_text|>", mask="<|mask|>", post="<|begin_of_text|>")


def modernbert(folder: Path) -> None:
    """Plain tokens are added to it as they are written: of spaces, for code, and here of ideographs."""
    plain = ("  ", "    ", "世界", "é")
    _general(folder, "modernbert", "[CLS]", "[SEP]", plain=plain, mask="[MASK]", pad="[PAD]", post="[CLS]")


def gpt2(folder: Path) -> None:
    vocabulary = byte_level("<|endoftext|>").get_vocab(with_added_tokens=False) | {"do": 257, "dog": 258}
    made = transformers.GPT2Tokenizer(vocab=vocabulary | {"<|endoftext|>": 256}, merges=[("d", "o"), ("do", "g")])
    made.save_pretrained(folder)
    _amend(folder, "gpt2")


def distilbert(folder: Path) -> None:
    bert(folder, kind="distilbert", tokenizer_class="DistilBertTokenizer")


def qwen2(folder: Path) -> None:
    qwen3(folder)
    _amend(folder, "qwen2")


def qwen3(folder: Path) -> None:
    engine = byte_level("<|endoftext|>", "<|im_end|>")
    vocabulary = engine.get_vocab(with_added_tokens=False) | {"do": 258, "dog": 259}
    made = transformers.Qwen2Tokenizer(
        vocab=vocabulary, merges=[("d", "o"), ("do", "g")], eos_token="<|im_end|>", unk_token=None
    )
    made.save_pretrained(folder)
    _amend(folder, "qwen3")


def _general(
    folder: Path, kind: str, begin: str, end: str, *, post: str, plain: tuple[str, ...] = (), **named: str
) -> None:
    engine = byte_level(begin, end, *named.values())
    engine.add_tokens([AddedToken(text, special=False, normalized=True) for text in plain])
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.post_processor = processors.TemplateProcessing(
        single=f"{post} $A", pair=f"{post} $A {post}:1 $B:1", special_tokens=[(post, engine.token_to_id(post))]
    )
    roles = {f"{role}_token": name for role, name in named.items()}
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=engine, bos_token=begin, eos_token=end, **roles)
    made.save_pretrained(folder)
    _amend(folder, kind)


def _amend(folder: Path, kind: str, **said: Any) -> None:
    write(folder, "config.json", {"model_type": kind})
    path = folder / "tokenizer_config.json"
    write(folder, path.name, {**json.loads(path.read_text(encoding="utf-8")), **said})


_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>"]
FOLDERS: dict[str, Callable[[Path], None]] = {
    found.__name__: found
    for found in (
        *(bert, electra, roberta, xlm_roberta, llama, llama3, eurobert, qwen3),
        *(modernbert, gpt2, distilbert, qwen2),
    )
}
