"""Where words begin, in English, Chinese and what lies between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.text import Tokenizer


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The text's words, as the word starts part its tokens."""
    tokens = tokenizer.encode(text)
    starts = np.flatnonzero(tokenizer.word_starts(tokens)).tolist()
    return [tokenizer.decode(tokens[a:b]) for a, b in zip(starts, [*starts[1:], len(tokens)], strict=True)]


def test_english_words_are_whole_with_their_endings(bpe: Tokenizer) -> None:
    assert words(bpe, "Unbelievably, it wasn't the dog's.") == [
        "Unbelievably",
        ",",
        " it",
        " wasn't",
        " the",
        " dog's",
        ".",
    ]
    assert words(bpe, "a 'send' 12345x") == ["a", " '", "send", "'", " 12345", "x"]
    assert words(bpe, "(Zyxwv...)\n\nQ") == ["(", "Zyxwv", "...)", "\n", "\n", "Q"]


def test_each_ideograph_is_a_word_even_in_bytes(bpe: Tokenizer) -> None:
    assert words(bpe, "语言，龘龖 ok") == ["语", "言", "，", "龘", "龖", " ok"]


def test_other_scripts_keep_their_marks(bpe: Tokenizer) -> None:
    assert words(bpe, "быстрый हिन्दी שלום") == ["быстрый", " हिन्दी", " שלום"]


def test_wordpiece_words(wordpiece: Tokenizer) -> None:
    assert words(wordpiece, "unbelievably, 语言 dogs") == ["unbelievably", ",", "语", "言", "dogs"]


@given(text=st.text(alphabet="abcdefghijklmnopqrstuvwxyz ABC", min_size=1, max_size=50))
def test_every_word_of_plain_english_is_one_word(bpe: Tokenizer, text: str) -> None:
    found = [word.strip() for word in words(bpe, text)]
    assert [word for word in found if word] == text.split()


def test_special_tokens_stand_alone(bpe: Tokenizer) -> None:
    inside = bpe.encode("Unbelievably")
    assert len(inside) > 1
    tokens = [2, *inside, 4, *inside[1:], 3]
    assert bpe.word_starts(tokens).tolist() == [True, True, *[False] * (len(inside) - 1), True, True] + [False] * (
        len(inside) - 2
    ) + [True]


def test_jieba_finds_chinese_words() -> None:
    pytest.importorskip("jieba", reason="needs the extra bothways[chinese]")
    from bothways.text.characters import jieba_starts

    starts = np.flatnonzero(jieba_starts("我来到北京清华大学")).tolist()
    assert starts == [0, 1, 3, 5]
