"""Which document is where, in what language, and where a pair is parted: ten bytes a document, a file a split.

A pair is one document of two sides, `[CLS] a [SEP] b [SEP]`; its first side is `[CLS] a [SEP]`. Shards without
languages have no table: their documents are told apart by [CLS] alone.

Letters: D documents, N places in the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECORD = np.dtype([("length", "<u4"), ("first", "<u4"), ("language", "u1", 2)])
"""Tokens with specials; those of the first side (0: the document is no pair); the language of each side."""
MOST_LANGUAGES = 256


def records(lengths: np.ndarray, firsts: np.ndarray, languages: tuple[int, ...]) -> np.ndarray:
    """[D] records of documents in one language, or of pairs in two; `firsts` is read for pairs only."""
    made = np.zeros(len(lengths), dtype=RECORD)
    made["length"] = lengths
    made["first"] = firsts if len(languages) == 2 else 0
    made["language"] = (languages[0], languages[-1])
    return made


@dataclass(frozen=True, slots=True)
class Table:
    """The documents of one split.

    starts    [D + 1] int64, where each begins; the last is the length of the stream
    first     [D] int64, the length of a pair's first side; 0 where the document is no pair
    language  [D, 2] uint8, of the two sides; twice the same where the document is no pair
    """

    starts: np.ndarray
    first: np.ndarray
    language: np.ndarray

    @classmethod
    def read(cls, content: np.ndarray) -> Table:
        """From the bytes of a file of records."""
        found = content.view(RECORD)
        starts = np.zeros(len(found) + 1, dtype=np.int64)
        np.cumsum(found["length"], out=starts[1:])
        return cls(starts, found["first"].astype(np.int64), found["language"].copy())

    @property
    def pair(self) -> np.ndarray:
        """[D] bool."""
        return self.first > 0

    def languages(self, places: np.ndarray) -> np.ndarray:
        """[N] int32: the language at each of these places [N]; the [SEP] that parts a pair is of the first side."""
        document = np.searchsorted(self.starts, places, side="right") - 1
        first = self.first[document]
        second = (first > 0) & (places - self.starts[document] >= first)
        return np.asarray(self.language[document, second.astype(np.int64)], dtype=np.int32)
