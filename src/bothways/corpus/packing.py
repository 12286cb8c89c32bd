"""Rows of whole pairs: a pair that a row's edge cut would lose its partner, so pairs are packed, not read as a stream.

    pairs     [CLS] a b [SEP] A B [SEP]    [CLS] c [SEP] C [SEP]    [CLS] d e f g h i [SEP] D E F G [SEP]
    rows      [CLS] a b [SEP] A B [SEP] [PAD] ...        of length 11
              [CLS] d e f [SEP] D E [SEP] [PAD] ...
              [CLS] g h i [SEP] F G [SEP] [PAD] ...      (with [CLS] c [SEP] C [SEP] behind one where there is room)

A pair longer than a row is cut into parts of which each has its share of both sides: the first third of a sentence
beside the first third of its translation. So every token of text stands in exactly one row of an epoch, and every row
holds both sides of what it holds; a side with fewer tokens than there are parts is empty in some of them.

The rows are filled by best fit, the longest first (best-fit decreasing, Johnson 1974), once for all epochs; each epoch
deals the parts of equal length anew among the places for that length. All of it is a function of the documents'
lengths, the length of the rows, seed and epoch.

Letters: P parts of pairs, R rows, T tokens in a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.corpus.document_index import Table
from bothways.corpus.shards import Stream
from bothways.errors import DataError

SHORTEST_ROW = 8
_KEPT = 2  # epochs whose deal is kept


class Packing:
    """The rows of a stream's pairs; `packing.row(index, epoch)`."""

    def __init__(self, stream: Stream, table: Table, vocabulary: Vocabulary, *, length: int, seed: int | None) -> None:
        """
        Raises:
            DataError: rows too short for any pair.
        """
        if length < SHORTEST_ROW:
            raise DataError(f"pairs need rows of at least {SHORTEST_ROW} tokens, got {length}. Use longer rows.")
        self._stream, self._table, self._vocabulary = stream, table, vocabulary
        self._length, self._seed = length, seed
        pairs = np.flatnonzero(table.pair)
        first = table.first[pairs] - 2  # without [CLS] and [SEP]
        second = np.diff(table.starts)[pairs] - table.first[pairs] - 1  # without [SEP]
        both = first + second
        # Of each side a part holds its share, rounded up at most: two tokens more than its share of both.
        parts = np.where(both + 3 <= length, 1, -(-both // (length - 5)))
        self._pair = np.repeat(pairs, parts)  # [P]
        self._parts = np.repeat(parts, parts)  # [P]
        self._part = np.arange(len(self._pair)) - np.repeat(np.cumsum(parts) - parts, parts)  # [P]
        (a, b), (c, d) = self._share(np.repeat(first, parts)), self._share(np.repeat(second, parts))
        self._sides = np.stack([a, b, c, d], axis=1)  # [P, 4]: from, to in the first side; from, to in the second
        self._lengths = 3 + (b - a) + (d - c)  # [P]
        filled = best_fit(np.sort(self._lengths)[::-1].tolist(), length)
        self._places = np.argsort(filled, kind="stable")  # the places of a row, longest first, row by row
        self._bounds = np.searchsorted(filled[self._places], np.arange(int(filled.max(initial=-1)) + 2))
        self._deals: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Rows in an epoch."""
        return len(self._bounds) - 1

    def row(self, index: int, epoch: int) -> Row:
        """Whole pairs, padded to the length of a row."""
        mine = self._deal(epoch)[self._places[self._bounds[index] : self._bounds[index + 1]]]
        pairs = [self._pair_of(part) for part in mine.tolist()]
        tokens, starts, language, part = (np.concatenate(column) for column in zip(*pairs, strict=True))
        missing = self._length - len(tokens)
        document = np.repeat(np.arange(len(pairs), dtype=np.int32), [len(one) for one, *_ in pairs])
        return Row(
            tokens=np.pad(tokens, (0, missing), constant_values=self._vocabulary.pad),
            document=np.concatenate([document, -1 - np.arange(missing, dtype=np.int32)]),
            word_starts=np.pad(starts, (0, missing), constant_values=True),
            language=np.pad(language, (0, missing)),
            part=np.pad(part, (0, missing)),
        )

    def _share(self, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each part begins and ends in a side of so many tokens: [P] -> [P], [P]."""
        return self._part * side // self._parts, (self._part + 1) * side // self._parts

    def _deal(self, epoch: int) -> np.ndarray:
        """[P] the part that stands at each place; places go from the longest to the shortest."""
        if epoch not in self._deals:
            order = np.arange(len(self._lengths))
            if self._seed is not None:
                # No row draws from this: its last number is above that of every row.
                order = np.random.default_rng((self._seed, epoch, 1 << 62)).permutation(order)
            while len(self._deals) >= _KEPT:
                self._deals.pop(next(iter(self._deals)))
            self._deals[epoch] = order[np.argsort(-self._lengths[order], kind="stable")]
        return self._deals[epoch]

    def _pair_of(self, part: int) -> tuple[np.ndarray, ...]:
        """Tokens, word starts, languages and parts of `[CLS] a [SEP] b [SEP]`."""
        pair = self._pair[part]
        start, first = self._table.starts[pair] + 1, self._table.first[pair] - 1
        a, b, c, d = (int(place) for place in self._sides[part])
        one, one_starts = self._stream.read(start + a, start + b)
        two, two_starts = self._stream.read(start + first + c, start + first + d)
        cls, sep = self._vocabulary.cls, self._vocabulary.sep
        tokens = np.concatenate([[cls], one, [sep], two, [sep]]).astype(np.int32)
        starts = np.concatenate([[True], one_starts, [True], two_starts, [True]])
        starts[[1, len(one) + 2]] = True  # a word that a cut parts begins anew
        side = np.repeat(np.arange(2, dtype=np.int32), [len(one) + 2, len(two) + 1])
        return tokens, starts, self._table.language[pair][side].astype(np.int32), side


def best_fit(lengths: Sequence[int], room: int) -> np.ndarray:
    """The row of each length, [P]: that with the least room that is enough, or a new one."""
    rows: list[list[int]] = [[] for _ in range(room + 1)]  # by the room they have left
    left = 0  # a bit for each room that some row has left
    count = 0
    chosen = np.empty(len(lengths), dtype=np.int64)
    for place, length in enumerate(lengths):
        enough = left >> length
        if enough:
            own = length + (enough & -enough).bit_length() - 1
            row = rows[own].pop()
            if not rows[own]:
                left ^= 1 << own
        else:
            own, row, count = room, count, count + 1
        rows[own - length].append(row)
        left |= 1 << (own - length)
        chosen[place] = row
    return chosen
