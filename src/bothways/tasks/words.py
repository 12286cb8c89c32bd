"""The words of a text and where they stand in it; tags of words as names with their characters; two marked things.

Letters: W words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bothways.errors import UsageError
from bothways.tasks.schemes import Scheme
from bothways.text.characters import HAN

_MARK, _LETTER = "\u0300", rf"[^\W\d{HAN}]"
_WORD = re.compile(rf"(?:[{HAN}]|\d+|{_LETTER}(?:{_MARK}*{_LETTER})*|[^\w\s]){_MARK}*")
"""Ideographs, numbers, runs of letters, single signs, each with the marks behind it; runs go on behind theirs."""
_SIGN = re.compile(rf"\S{_MARK}*")
_JOINERS = "\u200c\u200d"
"""They change how the letters around them are drawn, and part no words."""


@dataclass(frozen=True, slots=True)
class Words:
    """A text as it is read, and its words.

    read    the text in composed form (NFC)
    spans   [W, 2] where each word begins and ends in it
    text    the text as it was given
    places  [W, 2] where each word begins and ends in that
    by      what parted them: the text itself, whoever gave its words, or their places; or each character is one
    """

    read: str
    spans: np.ndarray
    text: str
    places: np.ndarray
    by: Literal["text", "tokens", "places", "characters"] = "text"

    @property
    def exact(self) -> bool:
        """Whether a token may hold characters of one word only: others may begin or end within what has no space."""
        return self.by in ("places", "characters")

    @classmethod
    def of(cls, text: str, *, characters: bool = False) -> Words:
        """Those that the text shows; or its characters, each with the marks behind it, white space left out.

        Raises:
            UsageError: letters in tokens that only come together across a boundary of letters (Hangul in jamo).
        """
        read, origin = composed(text)
        parted = (_SIGN if characters else _WORD).finditer(_marked(read))
        spans = np.array([found.span() for found in parted], dtype=np.int64).reshape(-1, 2)
        return cls(read, spans, text, origin[spans], "characters" if characters else "text")

    @classmethod
    def placed(cls, text: str, places: Sequence[tuple[int, int]]) -> Words:
        """Those that begin and end at such characters of the text.

        Raises:
            UsageError: a place that is not inside the text, not behind the one before, within a letter, or blank.
        """
        read, origin = composed(text)
        behind = 0
        for start, end in places:
            if not behind <= start < end <= len(text) or not text[start:end].strip():
                raise UsageError(f"expected words of the text, one behind the other, got characters {start} to {end}")
            behind = end
        given = np.array(places, dtype=np.int64).reshape(-1, 2)
        spans = np.searchsorted(origin, given)
        if (wrong := np.flatnonzero((origin[spans] != given).any(-1))).size:
            raise UsageError(f"expected words of whole letters, got characters {places[wrong[0]]} within one")
        return cls(read, spans, text, given, "places")

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
        return cls(read, places, read, places, "tokens")

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


def entities(words: Words, tags: Sequence[str], scheme: Scheme) -> Iterator[Entity]:
    """The names among tagged words, as seqeval reads tags (conlleval's way: an I- after nothing begins one)."""
    from seqeval.metrics.sequence_labeling import get_entities

    for label, first, last in get_entities([scheme.plain(tag) for tag in tags]):
        start, end = int(words.places[first, 0]), int(words.places[last, 1])
        yield Entity(label, words.text[start:end], start, end, int(first), int(last))


def found_in(text: str, wanted: str, *, start: int | None = None) -> tuple[int, int] | None:
    """Where a stretch of the text stands, first of all or from `start` on, in whatever form (NFC, NFD) its letters are
    and without white space around it; None: it does not."""
    begin = text.find(wanted) if start is None else start
    if wanted and begin >= 0 and text.startswith(wanted, begin):
        return begin, begin + len(wanted)
    read, origin = composed(text)
    plain = unicodedata.normalize("NFC", wanted).strip()
    at = read.find(plain) if start is None else int(np.searchsorted(origin, start))
    if not plain or at < 0 or not read.startswith(plain, at):
        return None
    return int(origin[at]), int(origin[at + len(plain)])


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


_TAGS = re.compile(r"</?e[12]>")
_ORDER = ("<e1>", "</e1>", "<e2>", "</e2>")


@dataclass(frozen=True, slots=True)
class Pair:
    """A text with two things in it: where the first and the second begin and end, in characters, [2, 2]."""

    text: str
    things: np.ndarray

    @classmethod
    def marked(cls, text: str) -> Pair:
        """From a text with both marked: "The <e1>company</e1> makes <e2>chairs</e2>."

        Raises:
            UsageError: a mark is missing, twice there, or around nothing.
        """
        places, plain, end = {}, "", 0
        for found in _TAGS.finditer(text):
            plain += text[end : found.start()]
            if found.group() in places:
                raise UsageError(f"expected each of {', '.join(_ORDER)} once, got {found.group()} twice")
            places[found.group()], end = len(plain), found.end()
        if missing := [tag for tag in _ORDER if tag not in places]:
            raise UsageError(f"expected two things in <e1></e1> and <e2></e2>, got a text without {missing[0]}")
        return cls.placed(plain + text[end:], *(places[tag] for tag in _ORDER))

    @classmethod
    def placed(cls, text: str, start: int, end: int, other_start: int, other_end: int) -> Pair:
        """
        Raises:
            UsageError: a thing that is not inside the text, or only white space.
        """
        things = np.array([[start, end], [other_start, other_end]])
        for begin, behind in things.tolist():
            if not 0 <= begin < behind <= len(text) or not text[begin:behind].strip():
                raise UsageError(f"expected things inside the text, got characters {begin} to {behind}")
        composed(text)  # raises where offsets could not be kept
        return cls(text, things)
