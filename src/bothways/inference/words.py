"""The words of a text and where they stand in it; tags of words as names with their characters.

Letters: W words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bothways.errors import UsageError
from bothways.text.characters import HAN

_MARK, _LETTER = "\u0300", rf"[^\W\d{HAN}]"
_WORD = re.compile(rf"(?:[{HAN}]|\d+|{_LETTER}(?:{_MARK}*{_LETTER})*|[^\w\s]){_MARK}*")
"""Ideographs, numbers, runs of letters, single signs, each with the marks behind it; runs go on behind theirs."""
_JOINERS = "\u200c\u200d"
"""They say how the letters around them are drawn, and part no words."""


@dataclass(frozen=True, slots=True)
class Words:
    """A text as it is read, and its words.

    read    the text in composed form (NFC)
    spans   [W, 2] where each word begins and ends in it
    text    the text as it was given
    places  [W, 2] where each word begins and ends in that
    """

    read: str
    spans: np.ndarray
    text: str
    places: np.ndarray

    @classmethod
    def of(cls, text: str) -> Words:
        """Those that the text shows.

        Raises:
            UsageError: letters in pieces that only come together across a boundary of letters (Hangul in jamo).
        """
        read, origin = composed(text)
        spans = np.array([found.span() for found in _WORD.finditer(_marked(read))], dtype=np.int64).reshape(-1, 2)
        return cls(read, spans, text, origin[spans])

    @classmethod
    def joined(cls, words: Sequence[str]) -> Words:
        """Words that are given, with a space between two unless both are ideographs."""
        read, spans = "", []
        for word in words:
            plain = unicodedata.normalize("NFC", word)
            apart = read and not (re.match(rf"[{HAN}]", read[-1]) and re.match(rf"[{HAN}]", plain))
            read += " " if apart else ""
            spans.append((len(read), len(read) + len(plain)))
            read += plain
        places = np.array(spans, dtype=np.int64).reshape(-1, 2)
        return cls(read, places, read, places)

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, word: int) -> str:
        """A word, as it was given."""
        start, end = self.places[word].tolist()
        return self.text[start:end]


def _marked(text: str) -> str:
    """The text with the same mark in place of every one (vowel signs, accents), as `re` has no class of them."""
    if text.isascii():
        return text
    return "".join(_MARK if unicodedata.category(one)[0] == "M" or one in _JOINERS else one for one in text)


@dataclass(frozen=True, slots=True)
class Entity:
    """Words that are one thing: what, where (characters of the text), and which words (from, to and with)."""

    label: str
    text: str
    start: int
    end: int
    first: int
    last: int


def entities(words: Words, tags: Sequence[str]) -> Iterator[Entity]:
    """The names among tagged words, as seqeval reads tags (conlleval's way: an I- after nothing begins one)."""
    from seqeval.metrics.sequence_labeling import get_entities

    if any(tag[1:2] == "-" for tag in tags):
        for label, first, last in get_entities(list(tags)):
            start, end = int(words.places[first, 0]), int(words.places[last, 1])
            yield Entity(label, words.text[start:end], start, end, int(first), int(last))


def composed(text: str) -> tuple[str, np.ndarray]:
    """The text in composed form, and for each of its characters, and its end, the place in the text given."""
    if unicodedata.is_normalized("NFC", text):
        return text, np.arange(len(text) + 1)
    begins = [place for place, character in enumerate(text) if not place or not unicodedata.combining(character)]
    read, places = "", []
    for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
        part = unicodedata.normalize("NFC", text[begin:end])
        places += [begin] * len(part)
        read += part
    if not unicodedata.is_normalized("NFC", read):
        raise UsageError("expected text in composed form (NFC), got letters that are put together of several")
    return read, np.array([*places, len(text)])
