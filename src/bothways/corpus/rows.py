"""Rows of a fixed length out of a stream: any row of any epoch is computed from its number alone.

The stream is read as a ring, from a place that each epoch draws anew, in windows of length - 1 pieces: every piece
stands in exactly one row of an epoch. A row is a window after a [CLS]; a window that brings one gets no second:

    stream    [CLS] a b c [SEP] [CLS] d e [SEP]       length 5: windows of 4, here shifted by 1
    windows   a b c [SEP]  |  [CLS] d e [SEP]  |  [CLS]
    rows      [CLS] a b c [SEP]            document  0  0  0  0  0
              [CLS] d e [SEP] [PAD]                  0  0  0  0 -1
              [CLS] [PAD] [PAD] [PAD] [PAD]          0 -1 -2 -3 -4
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.corpus.shards import Stream
from bothways.errors import DataError


class Rows:
    """All rows of all epochs; `rows[index]` for any index >= 0, in any order and from any process."""

    def __init__(self, stream: Stream, vocabulary: Vocabulary, *, length: int, seed: int | None) -> None:
        """
        Args:
            length: tokens in a row.
            seed: draws each epoch's shift and order; None reads every epoch alike, from the first piece on.

        Raises:
            DataError: the stream is shorter than a row.
        """
        if stream.pieces < length:
            raise DataError(
                f"the {stream.name} split: expected at least one row of {length} pieces, got {stream.pieces} in all. "
                "Use shorter rows or more text"
                + (", or hold out a larger share." if stream.name == "validation" else ".")
            )
        self.length = length
        self.seed = seed
        self._stream = stream
        self._vocabulary = vocabulary
        self._window = length - 1

    def __len__(self) -> int:
        """Rows in an epoch."""
        return -(-self._stream.pieces // self._window)

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
        shift = 0 if self.seed is None else _plan(self.seed, epoch, len(self), self._window)[0]
        window, starts = self._ring(
            shift + row * self._window, min(self._window, self._stream.pieces - row * self._window)
        )
        return self._lay(window, starts)

    def _ring(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` pieces from `start` on; after the last comes the first."""
        start %= self._stream.pieces
        stop = min(start + count, self._stream.pieces)
        pieces, starts = self._stream.read(start, stop)
        if stop - start == count:
            return pieces, starts
        more, more_starts = self._stream.read(0, count - (stop - start))
        return np.concatenate([pieces, more]), np.concatenate([starts, more_starts])

    def _lay(self, window: np.ndarray, starts: np.ndarray) -> Row:
        """[CLS] (unless the window brings one), the window, padding."""
        cls = self._vocabulary.cls
        first = 0 if window[0] == cls else 1
        stop = first + len(window)
        pieces = np.full(self.length, self._vocabulary.pad, dtype=np.int32)
        pieces[0] = cls
        pieces[first:stop] = window
        word_starts = np.ones(self.length, dtype=bool)
        word_starts[first:stop] = starts
        word_starts[1] = True  # a word that the row's edge cuts begins anew
        document = np.cumsum(pieces == cls, dtype=np.int32) - 1
        document[stop:] = -1 - np.arange(self.length - stop, dtype=np.int32)
        return Row(pieces, document, word_starts)


@lru_cache(maxsize=4)
def _plan(seed: int, epoch: int, rows: int, window: int) -> tuple[int, np.ndarray]:
    """An epoch's shift (0..window-1) and order of rows [rows].

    The last number of the seed is one that no row of the epoch has: rows draw from (seed, epoch, row).
    """
    rng = np.random.default_rng((seed, epoch, rows))
    return int(rng.integers(window)), rng.permutation(rows).astype(np.int32)
