"""Classes of characters, and where words begin in a run of tokens."""

from __future__ import annotations

import logging
import sys
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache

import numpy as np

from bothways.errors import needs

HAN = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f"
)
"""Ideographs, each a word by itself: BERT's ranges, written as the inside of a regular expression's brackets."""

WIDE_SIGNS = "\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
"""Punctuation as wide as an ideograph, with no space on either side, written in the same way."""

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"
    "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
)
"""Scripts that put no spaces between words, written in the same way: Thai, Lao, Burmese, Khmer, Tai, and kana."""

JOINERS = "\u00ad\u200c\u200d"
"""They say how the letters around them are drawn or may be parted, and are no letters themselves."""

_PRINTABLE = {*range(33, 127), *range(161, 173), *range(174, 256)}
BYTES = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + place): byte for place, byte in enumerate(sorted(set(range(256)) - _PRINTABLE))
}
"""GPT-2's spelling of bytes: a printable one as itself, the others as the characters from 256 on, in order."""

_RANGES = [(part[0], part[2]) for part in (HAN[i : i + 3] for i in range(0, len(HAN), 3))]

# INSIDE continues a word whatever comes before; ALONE is a word by itself; LETTER, DIGIT and OTHER continue a run of
# their own kind and, like it, what ends in LEADING: the one space that belongs to the word after it.
INSIDE, ALONE, SPACE, LETTER, DIGIT, OTHER, SPECIAL, LEADING = range(8)

CONTRACTIONS = ("s", "d", "m", "t", "ll", "ve", "re")
"""English endings after an apostrophe that belong to the word before it."""


@cache
def marks() -> str:
    """All combining marks (vowel signs, accents) as the inside of a regular expression's brackets: `re` has no class of
    them, and takes them for no part of a word."""
    found = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code))[0] == "M"]
    starts = [one for one, before in zip(found, ["", *found], strict=False) if not before or ord(one) - ord(before) > 1]
    ends = [one for one, after in zip(found, [*found[1:], ""], strict=True) if not after or ord(after) - ord(one) > 1]
    return "".join(f"{start}-{end}" for start, end in zip(starts, ends, strict=True))


@cache
def kind_of(character: str) -> int:
    """The kind of one character; a byte that is no whole character comes as "surrogateescape" decodes it."""
    if "\udc80" <= character <= "\udcbf":
        return INSIDE
    if "\udcc0" <= character <= "\udcff":  # the first byte of a cut character: from 0xE3 on mostly an ideograph
        return ALONE if character >= "\udce3" else LETTER
    if character.isspace():
        return SPACE
    if any(first <= character <= last for first, last in _RANGES):
        return ALONE
    return {"L": LETTER, "M": LETTER, "N": DIGIT}.get(unicodedata.category(character)[0], OTHER)


def edges(surface: bytes) -> tuple[int, int]:
    """The kinds of the first and the last character of a token, which may be cut in the middle."""
    text = surface.decode("utf-8", "surrogateescape")
    if text[:1] == "'" and text[1:] in CONTRACTIONS:
        return LETTER, LETTER
    if text == " ":
        return SPACE, LEADING
    begins, ends = kind_of(text[0]), kind_of(text[-1])
    return begins, LETTER if ends == INSIDE else ends


class WordStarts:
    """Finds word starts from two tables over the vocabulary: how each token begins and how it ends.

    A word is a run of letters, a run of digits, a run of other signs, or one ideograph, with the space before it;
    special tokens stand alone.
    """

    def __init__(self, begins: Sequence[int], ends: Sequence[int]) -> None:
        self._begins = np.asarray(begins, dtype=np.uint8)
        self._ends = np.asarray(ends, dtype=np.uint8)

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """[T] tokens -> [T] bool, True where a word begins."""
        begins, ends = self._begins[tokens], self._ends[tokens]
        starts = np.ones(len(tokens), dtype=bool)
        before, after = ends[:-1], begins[1:]
        alone = (after == SPACE) | (after == ALONE) | (after == SPECIAL) | (before == SPECIAL)
        starts[1:] = alone | ((after != before) & (after != INSIDE) & (before != LEADING))
        return starts


def jieba_starts(text: str) -> np.ndarray:
    """[characters] bool, True where jieba (an extra) begins a word: for Chinese, where no space parts words.

    Raises:
        MachineError: jieba is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba's own import uses what setuptools has deprecated
            import jieba
    except ImportError as error:
        raise needs("jieba", "chinese") from error
    jieba.setLogLevel(logging.WARNING)
    starts = np.zeros(len(text), dtype=bool)
    starts[[start for _, start, _ in jieba.tokenize(text)]] = True
    return starts
