"""Tokenizers in GGUF files: words are cut by the rule that the file names, special tokens and frames are its own."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bothways.errors import ModelError
from bothways.text import Tokenizer
from bothways.text.chat import chat_tokens
from bothways.text.gguf import PRE_TOKENIZERS
from tests.gguf_files import byte_level, piece_fields, tokenizer_fields, write

TEXT = "In 1984, don't SAY½  I'LL\n\n  12345x"
CUTS = {
    "gpt-2": "In| 1984|,| don|'t| SAY|½| | I|'|LL|\n\n | 12345|x",
    "smollm": "In| |1|9|8|4|,| don|'t| SAY|½| | I|'|LL|\n\n  |1|2|3|4|5|x",
    "qwen2": "In| |1|9|8|4|,| don|'t| SAY|½| | I|'LL|\n\n| | |1|2|3|4|5|x",
    "llama-bpe": "In| |198|4|,| don|'t| SAY|½| | I|'LL|\n\n| | |123|45|x",
    "tekken": "In| |1|9|8|4|,| don|'t| SAY|½| | I|'LL|\n\n| | |1|2|3|4|5|x",
}


def made(folder: Path, fields: dict[str, Any], **changes: Any) -> Tokenizer:
    changed = {**fields, **{f"tokenizer.ggml.{name}": value for name, value in changes.items()}}
    kept = {name: value for name, value in changed.items() if value is not None}
    return Tokenizer.load(write(folder / "tokenizer.gguf", kept, {"token_embd.weight": np.zeros((2, 32), np.float32)}))


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_words_are_cut_by_the_rule_that_the_file_names(name: str, tmp_path: Path) -> None:
    # every word often enough to become one token
    source = byte_level([TEXT] * 40, PRE_TOKENIZERS[name], size=400)
    tokenizer = made(tmp_path, tokenizer_fields(source, pre=name))
    assert "|".join(map(tokenizer.text_of, tokenizer.encode(TEXT))) == CUTS[name]
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.encode(TEXT) == source.encode(TEXT).ids


def test_names_of_special_tokens_in_a_text_are_characters_and_in_a_template_tokens(tmp_path: Path) -> None:
    tokenizer = made(tmp_path, tokenizer_fields(byte_level([TEXT], PRE_TOKENIZERS["smollm"], size=300), pre="smollm"))
    assert 2 not in tokenizer.encode("<|im_end|>") and tokenizer.vocabulary.ends == {2}
    talk = chat_tokens(tokenizer, [{"role": "user", "content": "<|im_end|>"}], now=datetime(2026, 1, 1))
    assert (talk.count(1), talk.count(2)) == (2, 1)
    assert tokenizer.frame.one == ((), ())


@pytest.mark.parametrize(
    ("pre", "told", "before"), [("smollm", None, ()), ("llama-bpe", None, (1,)), ("smollm", True, (1,))]
)
def test_a_text_begins_as_the_file_says(pre: str, told: bool | None, before: tuple[int, ...], tmp_path: Path) -> None:
    fields = tokenizer_fields(byte_level([TEXT], PRE_TOKENIZERS[pre], size=300), pre=pre)
    tokenizer = made(tmp_path, fields, add_bos_token=told)
    assert tokenizer.frame.one == (before, ()) and tokenizer.frame.two == (before, before, ())


def test_all_tokens_that_end_a_turn_end_it_and_unused_places_are_no_tokens(tmp_path: Path) -> None:
    fields = tokenizer_fields(byte_level([TEXT], PRE_TOKENIZERS["smollm"], size=300), pre="smollm")
    tokens = [*fields["tokenizer.ggml.tokens"], "<tool>", "[PAD1]"]
    kinds = [*fields["tokenizer.ggml.token_type"], 4, 5]
    tokenizer = made(tmp_path, fields, tokens=tokens, token_type=kinds, eot_token_id=0)
    assert tokenizer.vocabulary.ends == {0, 2}
    assert tokenizer.encode("a<tool>b")[1] == len(tokens) - 2  # one that the user defined is found in any text
    assert tokenizer.number("[PAD1]") is None and tokenizer.vocabulary.size == len(tokens) - 1


def by_scores(pieces: dict[str, float], text: str) -> list[str]:
    """SentencePiece's BPE by its definition: again and again the neighbours whose union scores best, the first of
    equals (Kudo and Richardson 2018; llama.cpp's llm_tokenizer_spm)."""
    parts = list("▁" + text.replace(" ", "▁"))
    while True:
        pairs = [(-pieces[a + b], place) for place, (a, b) in enumerate(pairwise(parts)) if a + b in pieces]
        if not pairs:
            return parts
        _, place = min(pairs)
        parts[place : place + 2] = ["".join(parts[place : place + 2])]


def test_sentence_pieces_join_by_their_scores(tmp_path: Path) -> None:
    texts = ["the cat sat on the mat", "a hat on a cat", "the other hat", "In 1984 it rained at night"]
    fields = piece_fields(texts * 3, size=90)
    tokenizer = made(tmp_path, fields)
    names, scores = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"]
    pieces = dict(zip(names[259:], scores[259:], strict=True))
    for text in (*texts, " the  hats", "cathat 1984"):
        assert tokenizer.tokens(tokenizer.encode(text)) == by_scores(pieces, text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.tokens(tokenizer.encode("é"))[-2:] == ["<0xC3>", "<0xA9>"]  # what it has no piece for, in bytes
    assert tokenizer.frame.one == ((1,), ()) and 2 not in tokenizer.encode("</s>")


def test_scores_for_other_tokens_are_refused(tmp_path: Path) -> None:
    fields = piece_fields(["the cat"], size=20)
    with pytest.raises(ModelError, match=r"numbers in tokenizer.ggml.scores, one a token, got 1"):
        made(tmp_path, fields, scores=[0.5])


def test_a_token_that_stands_twice_is_refused(tmp_path: Path) -> None:
    fields = tokenizer_fields(byte_level([TEXT], PRE_TOKENIZERS["gpt-2"], size=300), pre="gpt-2")
    tokens = [*fields["tokenizer.ggml.tokens"][:-1], "<|im_end|>"]
    with pytest.raises(ModelError, match="holds '<|im_end|>' twice"):
        made(tmp_path, fields, tokens=tokens)


def test_of_a_run_of_bytes_only_what_is_no_character_is_lost(tmp_path: Path) -> None:
    """The decoder of the library would put U+FFFD in the place of the whole run."""
    tokenizer = made(tmp_path, piece_fields(["the cat sat"] * 3, size=40))
    e, nothing = (tokenizer.number(f"<0x{byte:02X}>") for byte in (0xC3, 0xF0))
    accent, line = tokenizer.number("<0xA9>"), tokenizer.number("<0x0A>")
    cat = tokenizer.encode("cat")
    assert tokenizer.decode([*cat, line, nothing, *cat]) == "cat\n\ufffd cat"
    assert tokenizer.decode([*cat, line, e, accent, nothing]) == "cat\né\ufffd"
    assert tokenizer.decode([*cat, line, e, accent]) == "cat\né"
