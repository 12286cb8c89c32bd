"""Small tokenizers of both kinds, trained once."""

from __future__ import annotations

import pytest

from bothways.text import Tokenizer, train_tokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It wasn't the dog's fault, they'd say: 12345 foxes!",
    "Reading both ways: from left to right, and from all sides. Unbelievable, unbelievably readable reading.",
    "人工智能改变世界。语言模型从左到右读，也从四面八方读。世界很大，语言很多。",
    "Die Größe der Straße naïve café résumé. Ещё раз: быстрый текст, быстрое чтение.",
] * 20


@pytest.fixture(scope="session")
def bpe() -> Tokenizer:
    return train_tokenizer(TEXTS, kind="bpe", size=600)


@pytest.fixture(scope="session")
def wordpiece() -> Tokenizer:
    return train_tokenizer(TEXTS, kind="wordpiece", size=600)
