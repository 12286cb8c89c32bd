"""Rows of text to try objectives on, and the pictures in their docstrings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bothways.batch import Row, Vocabulary

# Token 5 is reserved: a special token without a role, to stand in for one that has.
VOCABULARY = Vocabulary(size=1000, pad=0, unk=1, cls=2, sep=3, mask=4, reserved=frozenset({5}))
FIRST_TEXT = 6


def packed(documents: list[int], *, padding: int = 0, starts: list[bool] | None = None, cut: bool = False) -> Row:
    """[CLS] tokens [SEP] for every document of so many tokens, all tokens different; `cut` loses the last [SEP]."""
    tokens: list[int] = []
    document: list[int] = []
    following = FIRST_TEXT
    for number, length in enumerate(documents):
        tokens += [VOCABULARY.cls, *range(following, following + length), VOCABULARY.sep]
        document += [number] * (length + 2)
        following += length
    if cut:
        del tokens[-1], document[-1]
    tokens += [VOCABULARY.pad] * padding
    document += range(-1, -padding - 1, -1)
    special = np.array(tokens) < FIRST_TEXT
    begins = np.ones(len(tokens), dtype=bool)
    if starts:
        begins = np.resize(np.array(starts), len(tokens)) | special
    return Row(np.array(tokens, dtype=np.int32), np.array(document, dtype=np.int32), begins)


rows = st.builds(
    packed,
    st.lists(st.integers(0, 7), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    starts=st.lists(st.booleans(), min_size=1, max_size=9),
    cut=st.booleans(),
)
"""Packed rows of several documents, some empty, the last perhaps cut, with words of any length and padding."""


def pair_row(pairs: list[tuple[int, int]], *, padding: int = 0) -> Row:
    """[CLS] first [SEP] second [SEP] for every pair of so many tokens on each side, in languages and parts 0 and 1."""
    tokens: list[int] = []
    document: list[int] = []
    language: list[int] = []
    following = FIRST_TEXT
    for number, (first, second) in enumerate(pairs):
        tokens += [VOCABULARY.cls, *range(following, following + first), VOCABULARY.sep]
        tokens += [*range(following + first, following + first + second), VOCABULARY.sep]
        following += first + second
        document += [number] * (first + second + 3)
        language += [0] * (first + 2) + [1] * (second + 1)
    tokens += [VOCABULARY.pad] * padding
    document += range(-1, -padding - 1, -1)
    language += [0] * padding
    columns = (np.array(column, dtype=np.int32) for column in (tokens, document, language))
    found, documents, languages = columns
    return Row(found, documents, np.ones(len(found), dtype=bool), languages, part=languages)


PAIR_ROWS = st.builds(
    pair_row,
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4),
    padding=st.integers(0, 3),
)
"""Packed rows of pairs."""


def long_row(rng: np.random.Generator, *, length: int, documents: int = 3) -> Row:
    """A row of random tokens and of words of 1 to about 6 tokens."""
    tokens = rng.integers(FIRST_TEXT, VOCABULARY.size, length).astype(np.int32)
    opens = np.sort(rng.choice(np.arange(1, length // 8), documents - 1, replace=False)) * 8
    tokens[[0, *opens]] = VOCABULARY.cls
    tokens[opens - 1] = VOCABULARY.sep
    starts = (rng.random(length) < 0.6) | (tokens < FIRST_TEXT)
    return Row(tokens, np.cumsum(tokens == VOCABULARY.cls, dtype=np.int32) - 1, starts)


def own_document(document: np.ndarray, row: Row) -> np.ndarray:
    """The number in the row of documents in a layout: a second copy of the row has numbers of its own (ELMo)."""
    return np.where(document >= len(row), document - len(row), document)


LETTERS = "abcdef"
SIX = Row(np.arange(6, 12, dtype=np.int32), np.zeros(6, dtype=np.int32), np.ones(6, dtype=bool))
"""One document of six words: a b c d e f."""
PAIR = replace(
    SIX,
    tokens=np.where(np.arange(6) == 2, VOCABULARY.sep, SIX.tokens).astype(np.int32),
    part=(np.arange(6) > 2).astype(np.int32),
)
"""A pair of five words: a b | d e f."""


@dataclass(frozen=True)
class Picture:
    """The arrays of a docstring: one entry for each word and what is laid behind them, and a matrix."""

    rows: dict[str, list[str]]
    sees: np.ndarray

    def tokens(self, name: str) -> np.ndarray:
        """Token numbers; `_` is [MASK], `^` is [CLS], `.` is -1."""
        known = {letter: FIRST_TEXT + i for i, letter in enumerate(LETTERS)}
        known |= {"_": VOCABULARY.mask, "^": VOCABULARY.cls, "|": VOCABULARY.sep, ".": -1}
        return np.array([known[cell] for cell in self.rows[name]])

    @property
    def row(self) -> Row:
        """The text that it is drawn from."""
        return PAIR if "|" in self.rows.get("text", ()) else SIX

    def numbers(self, name: str) -> np.ndarray:
        return np.array([int(cell) for cell in self.rows[name]])


def pictures(function: Callable[..., Any]) -> list[Picture]:
    """The pictures in a docstring: blocks of lines that begin with text, reads, ... and, after `sees`, with numbers."""
    found = []
    for block in re.split(r"\n\s*\n", function.__doc__ or ""):
        rows: dict[str, list[str]] = {}
        sees: list[list[int]] = []
        for line in block.splitlines():
            first, *cells = line.split() or [""]
            if first == "sees":
                sees.append([int(cell) for cell in cells])
            elif sees and first in ("0", "1"):
                sees.append([int(first), *map(int, cells)])
            elif first in ("text", "reads", "part", "chosen", "position", "step", "group", "predicts"):
                rows[first] = cells
        lengths = {len(cells) for cells in rows.values()}
        if len(lengths) == 1 and lengths.pop() >= len(LETTERS):
            found.append(Picture(rows, np.array(sees, dtype=bool)))
    return found
