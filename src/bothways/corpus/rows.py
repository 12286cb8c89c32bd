"""Rows of a fixed length out of a stream: any row of any epoch is computed from its number alone.

The stream is read as a ring, from a place that each epoch draws anew, in windows of length - 1 tokens: every token
stands in exactly one row of an epoch. A row is a window after a [CLS]; a window that brings one gets no second:

    stream    [CLS] a b c [SEP] [CLS] d e [SEP]       length 5: windows of 4, here shifted by 1
    windows   a b c [SEP]  |  [CLS] d e [SEP]  |  [CLS]
    rows      [CLS] a b c [SEP]            document  0  0  0  0  0
              [CLS] d e [SEP] [PAD]                  0  0  0  0 -1
              [CLS] [PAD] [PAD] [PAD] [PAD]          0 -1 -2 -3 -4

Pairs are not cut by windows: they stand in rows of their own, see `packing`. The ring is then what is left of the
stream without them, and an epoch deals out both kinds of rows in one order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.corpus.packing import Packing
from bothways.corpus.shards import Stream
from bothways.errors import DataError


class Rows:
    """All rows of all epochs; `rows[index]` for any index >= 0, in any order and from any process."""

    def __init__(self, stream: Stream, vocabulary: Vocabulary, *, length: int, seed: int | None) -> None:
        """
        Args:
            length: tokens in a row.
            seed: draws each epoch's shift and order; None reads every epoch alike, from the first token on.

        Raises:
            DataError: the stream is shorter than a row.
        """
        self.length = length
        self.seed = seed
        self._vocabulary = vocabulary
        self._window = length - 1
        self._ring = _Ring(stream)
        self._pairs: Packing | None = None
        if stream.table is not None and stream.table.pair.any():
            self._pairs = Packing(stream, stream.table, vocabulary, length=length, seed=seed)
        elif stream.token_count < length:
            raise DataError(
                f"the {stream.name} split: expected at least one row of {length} tokens, got {stream.token_count}. "
                "Use shorter rows or more text"
                + (", or hold out a larger share." if stream.name == "validation" else ".")
            )
        self._windows = -(-self._ring.token_count // self._window)

    def __repr__(self) -> str:
        return f"Rows({len(self):,} an epoch, of {self.length} tokens)"

    def __len__(self) -> int:
        """Rows in an epoch."""
        return self._windows + (len(self._pairs) if self._pairs else 0)

    def key(self, index: int) -> tuple[int, int, int]:
        """(seed, epoch, row): what all randomness of row `index` is drawn from."""
        epoch, place = divmod(index, len(self))
        if self.seed is None:
            return 0, epoch, place
        _, order = _plan(self.seed, epoch, len(self), self._window)
        return self.seed, epoch, int(order[place])

    def __getitem__(self, index: int) -> Row:
        if index < 0:
            raise IndexError(f"expected a row number of 0 or more, got {index}")
        _, epoch, row = self.key(index)
        if self._pairs and row >= self._windows:
            return self._pairs.row(row - self._windows, epoch)
        shift = 0 if self.seed is None else _plan(self.seed, epoch, len(self), self._window)[0]
        start = row * self._window
        return self._row(*self._ring.read(shift + start, min(self._window, self._ring.token_count - start)))

    def _row(self, window: np.ndarray, starts: np.ndarray, language: np.ndarray | None) -> Row:
        """[CLS] (unless the window brings one), the window, padding."""
        cls = self._vocabulary.cls
        first = 0 if window[0] == cls else 1
        stop = first + len(window)
        tokens = np.full(self.length, self._vocabulary.pad, dtype=np.int32)
        tokens[0] = cls
        tokens[first:stop] = window
        word_starts = np.ones(self.length, dtype=bool)
        word_starts[first:stop] = starts
        word_starts[1] = True  # a word that the row's edge cuts begins anew
        document = np.cumsum(tokens == cls, dtype=np.int32) - 1
        document[stop:] = -1 - np.arange(self.length - stop, dtype=np.int32)
        if language is not None:
            language = np.pad(np.pad(language, (first, 0), mode="edge"), (0, self.length - stop))
        return Row(tokens, document, word_starts, language)


class _Ring:
    """The stream without its pairs, end to end; after its last token comes its first."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        table = stream.table
        starts = np.array([0, stream.token_count]) if table is None else table.starts
        pair = np.zeros(1, dtype=bool) if table is None else table.pair
        lengths = np.where(pair, 0, np.diff(starts))
        begins = np.flatnonzero(~pair & np.append(True, pair[:-1]))  # a run of documents that are no pairs
        self._from = starts[begins]  # where each run begins in the stream
        self._at = (np.cumsum(lengths) - lengths)[begins]  # and here
        self.token_count = int(lengths.sum())

    def read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """`count` tokens from `start` on, their word starts and, where they are known, their languages."""
        parts, table = [], self._stream.table
        while count:
            start %= self.token_count
            run = int(np.searchsorted(self._at, start, side="right")) - 1
            end = int(self._at[run + 1]) if run + 1 < len(self._at) else self.token_count
            stop = min(start + count, end)
            begin = int(self._from[run]) - int(self._at[run])
            languages = None if table is None else table.languages(np.arange(begin + start, begin + stop))
            parts.append((*self._stream.read(begin + start, begin + stop), languages))
            start, count = stop, count - (stop - start)
        tokens, starts, known = zip(*parts, strict=True)
        return np.concatenate(tokens), np.concatenate(starts), None if table is None else np.concatenate(known)


@lru_cache(maxsize=4)
def _plan(seed: int, epoch: int, rows: int, window: int) -> tuple[int, np.ndarray]:
    """An epoch's shift (0..window-1) and order of rows [rows].

    The last number of the seed is one that no row of the epoch has: rows draw from (seed, epoch, row).
    """
    rng = np.random.default_rng((seed, epoch, rows))
    return int(rng.integers(window)), rng.permutation(rows).astype(np.int32)
