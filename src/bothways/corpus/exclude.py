"""Finds documents that contain an evaluation item.

An item and a document are read as words: composed (NFC), case folded, runs of letters, digits and marks; each ideograph
is a word; punctuation and white space do not count. In scripts that put no spaces between words (Thai, kana, ...) four
letters, each with its marks, count as a word. A document contains an item when they share 13 words in a row (as in
Brown et al. 2020, appendix C), or all words of a shorter item. Items of fewer than 8 words are not looked for: they
would be found everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus.lines import kept, lines, refuse
from bothways.corpus.records import RECORDS, TABLES, field_names, suffix_of
from bothways.text.characters import HAN, JOINERS, UNSPACED, marks

A_WORD = 4
"""Letters of a script without spaces that count as a word. Lengths below are counted in them."""
LONGEST = 13 * A_WORD
SHORTEST = 8 * A_WORD
_BASE = 0x100000001B3


class Exclusion:
    """What is looked for: hashes of runs of words, by their length."""

    def __init__(self, items: Iterable[str]) -> None:
        self.items = 0
        self.too_short = 0
        self._numbers: dict[str, int] = {}
        found: dict[int, list[np.ndarray]] = defaultdict(list)
        for item in items:
            words, lengths = _words(item)
            length = int(lengths.sum())
            if length < SHORTEST:
                self.too_short += 1
                continue
            self.items += 1
            numbers = [self._numbers.setdefault(word, len(self._numbers) + 1) for word in words]
            length = min(LONGEST, length)
            found[length].append(_Runs(numbers, lengths).hashes(length))
        self._runs = {length: np.unique(np.concatenate(runs)) for length, runs in sorted(found.items())}

    def contains(self, text: str) -> bool:
        """Whether the document contains an item."""
        words, lengths = _words(text)
        number = self._numbers.get
        runs = _Runs([number(word, 0) for word in words], lengths)
        return any(_meet(runs.hashes(length), known) for length, known in self._runs.items())


def read_items(paths: Iterable[Path]) -> Iterator[str]:
    """The items of evaluation files: every text in the records of a .jsonl, .csv, .tsv or .parquet, every line of
    another file.

    Raises:
        DataError: a file that is missing or does not parse.
    """
    for path in paths:
        suffix = suffix_of(path)
        if suffix in TABLES:
            yield from field_names(path)  # where nobody named the columns, the first line is an item, too
        found = RECORDS[suffix](path, ()) if suffix in RECORDS else lines(path)
        for _, _, one in kept(found, path, refuse):
            yield from _strings(one)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


@cache
def _word() -> re.Pattern[str]:
    letter, mark = rf"[^\W_{HAN}{UNSPACED}]", f"[{marks()}]"
    return re.compile(rf"[{HAN}]|[{UNSPACED}](?<=\w){mark}*|{letter}+(?:{mark}+{letter}*)*")


_UNSPACED = re.compile(f"[{UNSPACED}]")


def _words(text: str) -> tuple[list[str], np.ndarray]:
    """The words, and how much each counts [W]."""
    plain = text.casefold()
    for joiner in JOINERS:
        plain = plain.replace(joiner, "")
    plain = unicodedata.normalize("NFC", plain)
    words = _word().findall(plain)
    if not _UNSPACED.search(plain):
        return words, np.full(len(words), A_WORD)
    return words, np.array([1 if _UNSPACED.match(word) else A_WORD for word in words], dtype=np.int64)


def _meet(hashes: np.ndarray, ascending: np.ndarray) -> bool:
    """Whether one of the hashes is among those sorted; np.isin would sort them all again for every document."""
    place = np.minimum(np.searchsorted(ascending, hashes), len(ascending) - 1)
    return bool((ascending[place] == hashes).any())


class _Runs:
    """The runs of a text, of any length, by the sums of its words' hashes.

    Args:
        numbers: [W] of its words, as uint64.
        lengths: [W] how much each counts.
    """

    def __init__(self, numbers: list[int], lengths: np.ndarray) -> None:
        mixed = (np.array(numbers, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
        powers, self._back = (
            np.cumprod(np.full(len(numbers), base, dtype=np.uint64)) for base in (_BASE, pow(_BASE, -1, 1 << 64))
        )
        self._sums = np.append(np.uint64(0), np.cumsum(mixed * powers))
        self._reached = np.append(0, np.cumsum(lengths))

    def hashes(self, length: int) -> np.ndarray:
        """uint64, one for each word at which a run of that length begins: the words until it is reached."""
        ends = np.searchsorted(self._reached, self._reached[:-1] + length)
        ends = ends[ends < len(self._reached)]
        return np.asarray((self._sums[ends] - self._sums[: len(ends)]) * self._back[: len(ends)])
