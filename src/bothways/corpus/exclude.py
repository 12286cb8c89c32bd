"""Finds documents that contain an evaluation item.

An item and a document are read as words: case folded, runs of letters, digits and marks; each ideograph is a word;
punctuation and white space do not count. A document contains an item when they share 13 words in a row (as in Brown et
al. 2020, appendix C), or all words of a shorter item. Items of fewer than 8 words are not looked for: they would be
found everywhere.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus.options import PrepareOptions
from bothways.corpus.readers import Reader, refuse
from bothways.text.characters import HAN

LONGEST = 13
SHORTEST = 8
_WORDS = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")


class Exclusion:
    """What is looked for: hashes of runs of words, by their length."""

    def __init__(self, items: Iterable[str]) -> None:
        self.items = 0
        self.too_short = 0
        self._numbers: dict[str, int] = {}
        found: dict[int, list[np.ndarray]] = defaultdict(list)
        for item in items:
            words = _WORDS.findall(item.casefold())
            if len(words) < SHORTEST:
                self.too_short += 1
                continue
            self.items += 1
            numbers = [self._numbers.setdefault(word, len(self._numbers) + 1) for word in words]
            length = min(LONGEST, len(words))
            found[length].append(_hashes(np.array(numbers, dtype=np.uint64), length))
        self._runs = {length: np.unique(np.concatenate(runs)) for length, runs in sorted(found.items())}

    def contains(self, text: str) -> bool:
        """Whether the document contains an item."""
        number = self._numbers.get
        words = np.array([number(word, 0) for word in _WORDS.findall(text.casefold())], dtype=np.uint64)
        return any(len(words) >= length and _meet(_hashes(words, length), runs) for length, runs in self._runs.items())


def read_items(paths: Iterable[Path]) -> Iterator[str]:
    """The items of evaluation files: every line of a text file, every text in the records of a .jsonl.

    Raises:
        DataError: a file that is missing or does not parse.
    """
    reader = Reader(PrepareOptions())
    for path in paths:
        for number, line in reader.lines(path):
            try:
                yield from _strings(json.loads(line)) if ".jsonl" in path.suffixes else [line]
            except json.JSONDecodeError as error:
                refuse(path, number, f"expected JSON, got something else ({error})")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _meet(hashes: np.ndarray, ascending: np.ndarray) -> bool:
    """Whether one of the hashes is among those sorted; np.isin would sort them all again for every document."""
    place = np.minimum(np.searchsorted(ascending, hashes), len(ascending) - 1)
    return bool((ascending[place] == hashes).any())


def _hashes(numbers: np.ndarray, length: int) -> np.ndarray:
    """[W] words -> [W - length + 1] uint64, one for each run of `length` words."""
    mixed = (numbers + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    runs = len(numbers) - length + 1
    total = np.zeros(runs, dtype=np.uint64)
    for place in range(length):
        total = total * np.uint64(0x100000001B3) + mixed[place : place + runs]
    return total
