"""Documents to a stream: tokens, with [CLS] before and [SEP] after each, and where words begin.

A pair is one document with its sides parted by [SEP]: `[CLS] a [SEP] b [SEP]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bothways.text import Tokenizer
from bothways.text.characters import jieba_starts

Stream = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Tokens int32 [N], word starts bool [N], and the length of each document with its specials, int64 [D]."""


def by_shape(tokenizer: Tokenizer, texts: Sequence[str]) -> Stream:
    """Words as the tokenizer's tokens show them: by white space, kind of character, and single ideographs."""
    tokens, lengths = tokenizer.encode_flat(texts)
    framed, _ = _with_specials(tokenizer, tokens, lengths)
    return framed, tokenizer.word_starts(framed), lengths + 2


def by_jieba(tokenizer: Tokenizer, texts: Sequence[str]) -> Stream:
    """Words as jieba finds them: a token begins a word when it is the first of a character that begins one."""
    found = [tokenizer.encode_spans(text) for text in texts]
    starts = []
    for text, (_, spans) in zip(texts, found, strict=True):
        places = spans[:, 0]
        first = np.ones(len(places), dtype=bool)
        first[1:] = places[1:] != places[:-1]
        starts.append(first & jieba_starts(text)[places])
    lengths = np.array([len(spans) for _, spans in found], dtype=np.int64)
    tokens = np.concatenate([np.empty(0, np.int32), *(tokens for tokens, _ in found)])
    framed, at = _with_specials(tokenizer, tokens, lengths)
    words = np.ones(len(framed), dtype=bool)
    words[at] = np.concatenate([np.empty(0, bool), *starts])
    return framed, words, lengths + 2


def tokenize_documents(
    tokenizer: Tokenizer, documents: Sequence[tuple[str, ...]], *, words: Literal["spaces", "jieba"]
) -> tuple[Stream, np.ndarray]:
    """The stream of texts or of pairs, and the length of each one's first side, `[CLS] a [SEP]`, int64 [D]."""
    texts = [side for sides in documents for side in sides]
    tokens, starts, lengths = {"spaces": by_shape, "jieba": by_jieba}[words](tokenizer, texts)
    if len(texts) == len(documents):
        return (tokens, starts, lengths), lengths
    keep = np.ones(len(tokens), dtype=bool)
    keep[(np.cumsum(lengths) - lengths)[1::2]] = False  # the [CLS] of the second sides
    firsts = lengths[0::2]
    return (tokens[keep], starts[keep], firsts + lengths[1::2] - 1), firsts


def _with_specials(tokenizer: Tokenizer, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The stream, and the place in it of each text token."""
    vocabulary = tokenizer.vocabulary
    at = np.arange(len(tokens)) + 1 + 2 * np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths + 2)
    framed = np.empty(len(tokens) + 2 * len(lengths), dtype=np.int32)
    framed[at] = tokens
    framed[ends - lengths - 2] = vocabulary.cls
    framed[ends - 1] = vocabulary.sep
    return framed, at
