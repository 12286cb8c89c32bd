"""Small tokenizers, trained once: our two kinds, and one that parts text as GPT-2 does."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers

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


@pytest.fixture(scope="session")
def gpt2() -> Tokenizer:
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    engine.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    return Tokenizer(engine)
