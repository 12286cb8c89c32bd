"""Whole words of prepared shards: a vocabulary by frequency, and the text as numbers of words.

A word is what the shards say it is (see `text.characters.WordStarts`, or jieba): a run of letters or of digits, or one
ideograph; what holds neither letter nor digit is no word and is left out, and so is white space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bothways.corpus import Shards, Stream
from bothways.errors import DataError
from bothways.text import Tokenizer

_BLOCK = 1 << 22  # tokens read at a time
_PLACE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that its powers lose nothing modulo 2^64


@dataclass(frozen=True, slots=True)
class WordCounts:
    """The vocabulary, the commonest word first.

    spelled  the words, all different, without white space
    counts   int64 [V], how often each stands in the training text
    """

    spelled: tuple[str, ...]
    counts: np.ndarray


@dataclass(frozen=True, slots=True)
class WordText:
    """A text in words of the vocabulary; the others are left out, as word2vec does, so that windows reach over them.

    words      int32 [N], numbers of words
    documents  int32 [N], rising: the document of each word, which no window leaves
    """

    words: np.ndarray
    documents: np.ndarray


def read_words(shards: Shards, *, min_count: int, lowercase: bool) -> tuple[WordCounts, WordText, WordText]:
    """The vocabulary, the training text and the held-out text.

    Raises:
        DataError: no word occurs `min_count` times, or a block of a shard is not what was written.
    """
    spellings = _Spellings(shards.tokenizer, lowercase=lowercase)
    read = [_read(stream, spellings) for stream in (shards.train, shards.validation)]
    numbers = np.array(spellings.words, dtype=np.int64)  # [sequences], spelling or -1
    spelled = list(spellings.numbers)
    found = numbers[read[0].words]
    counts = np.bincount(found[found >= 0], minlength=len(spelled))
    if not (counts >= min_count).any():
        most = f"the commonest, {spelled[int(counts.argmax())]!r}, {counts.max()}" if counts.any() else "there is none"
        raise DataError(
            f"{shards.path}: expected words that occur at least {min_count} times, got {most}. "
            "Give more text, or a smaller --min-count."
        )
    often = np.flatnonzero(counts >= min_count).tolist()
    # Equal counts by spelling: no order of reading decides. Not by numpy, which takes the longest word's room for each.
    order = np.array(sorted(often, key=lambda place: (-counts[place], spelled[place])), dtype=np.int64)
    rank = np.full(len(spelled) + 1, -1, dtype=np.int32)  # the last is -1's
    rank[order] = np.arange(len(order), dtype=np.int32)
    train, held_out = (_known(text, rank[numbers]) for text in read)
    return WordCounts(tuple(spelled[place] for place in order), counts[order]), train, held_out


def _known(text: WordText, words: np.ndarray) -> WordText:
    """The text [N] of sequences in numbers of words; `words` [sequences] has -1 for what is left out."""
    found = words[text.words]
    return WordText(found[found >= 0], text.documents[found >= 0])


class _Spellings:
    """Sequences of tokens by their 64-bit hashes, and how they are spelled as words.

    Among a million sequences two of one hash are met once in thirty million texts.
    """

    def __init__(self, tokenizer: Tokenizer, *, lowercase: bool) -> None:
        self.tokenizer, self._lowercase = tokenizer, lowercase
        self._sequences: dict[int, int] = {}
        self.numbers: dict[str, int] = {}
        """{spelling: number}: " The", "The" and, in lower case, "the" are one word."""
        self.words: list[int] = []
        """The number of the spelling of each sequence; -1 for what is no word."""

    def number(self, key: int, tokens: np.ndarray) -> int:
        """The number of a sequence of tokens, a new one for a new sequence."""
        if key not in self._sequences:
            self._sequences[key] = len(self.words)
            word = "_".join(self.tokenizer.decode(tokens).split())
            word = word.lower() if self._lowercase else word
            known = "\ufffd" not in word and any(character.isalnum() for character in word)
            self.words.append(self.numbers.setdefault(word, len(self.numbers)) if known else -1)
        return self._sequences[key]


def _read(stream: Stream, spellings: _Spellings) -> WordText:
    """The whole stream as numbers of sequences; every [CLS] and [SEP] begins another document."""
    vocabulary = spellings.tokenizer.vocabulary
    mixed = np.random.default_rng(0).integers(0, 1 << 64, vocabulary.size, dtype=np.uint64)
    words, documents, document = [np.empty(0, np.int32)], [np.empty(0, np.int32)], 0
    for tokens, starts in _whole_words(stream):
        lengths = np.diff(starts, append=len(tokens))
        places = np.arange(len(tokens)) - np.repeat(starts, lengths)
        powers = np.cumprod(np.full(lengths.max(), _PLACE))
        keys, first, back = np.unique(
            np.add.reduceat(mixed[tokens] * powers[places], starts), return_index=True, return_inverse=True
        )
        ends = starts + lengths
        numbers = [
            spellings.number(key, tokens[starts[at] : ends[at]])
            for key, at in zip(keys.tolist(), first.tolist(), strict=True)
        ]
        words.append(np.array(numbers, dtype=np.int32)[back])
        edges = np.isin(tokens[starts], (vocabulary.cls, vocabulary.sep))
        documents.append((document + np.cumsum(edges)).astype(np.int32))
        document = int(documents[-1][-1])
    return WordText(np.concatenate(words), np.concatenate(documents))


def _whole_words(stream: Stream) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The stream in blocks that cut no word: tokens, and the places where words start."""
    begun, done = 0, 0
    while done < stream.token_count:
        done = min(done + _BLOCK, stream.token_count)
        tokens, marks = stream.read(begun, done)
        marks[0] = True
        starts = np.flatnonzero(marks)
        if done < stream.token_count and len(starts) > 1:
            tokens, starts = tokens[: starts[-1]], starts[:-1]
        begun += len(tokens)
        yield tokens, starts
