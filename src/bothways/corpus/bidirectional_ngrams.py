"""What may stand between two tokens: an n-gram model that looks to both sides, to draw from.

CodeBERT (Feng et al. 2020, section 3.4) replaces words by what "n-gram language models with bidirectional contexts"
draw. Its formula is not given; here, with l the token before, x the token drawn and r the token behind:

    p(x | l, r) = (c(lxr) - D) / c(l.r)  +  g(l, r) (p(x | l) + p(x | r)) / 2
    p(x | l)    = (c(lx) - D) / c(l.)    +  g(l) p(x)           and p(x | r) alike
    p(x)        = c(x) / c(.)

c counts text of one language, D is the discount for a count (1, 2, 3 or more) as in `ngrams`, g is what the discounts
took away; where a context was never seen, all goes to the next line. To draw from a sum, one of its terms is drawn, so
a draw is a few searches in sorted arrays and no distribution over the vocabulary is ever made.

Letters: n n-grams, h contexts, N places, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bothways.batch import Vocabulary
from bothways.corpus.ngrams import BLOCK, COUNT_AT_MOST, discounts, spread
from bothways.corpus.shards import Stream


@dataclass(frozen=True, slots=True)
class BidirectionalNGram:
    """The model of one language."""

    both: _Seen
    left: _Seen
    right: _Seen
    alone: _Seen
    size: int

    @classmethod
    def count(cls, left: np.ndarray, tokens: np.ndarray, right: np.ndarray, size: int) -> BidirectionalNGram:
        """From all places of text: the token at each, and those beside it, [n] each; `size` is V."""
        before, behind = left.astype(np.uint64), right.astype(np.uint64)
        return cls(
            both=_Seen.of(before * np.uint64(size) + behind, tokens, size),
            left=_Seen.of(before, tokens, size),
            right=_Seen.of(behind, tokens, size),
            alone=_Seen.of(np.zeros_like(before), tokens, size, discounted=False),
            size=size,
        )

    def draw(self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A token for each place, given those beside it: [N], [N] -> [N]."""
        before, behind = left.astype(np.uint64), right.astype(np.uint64)
        drawn = self.both.draw(before * np.uint64(self.size) + behind, rng)
        side = rng.random(len(left)) < 0.5
        one = np.where(side, self.left.draw(before, rng), self.right.draw(behind, rng))
        least = self.alone.draw(np.zeros_like(before), rng)
        return np.where(drawn >= 0, drawn, np.where(one >= 0, one, least))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The tokens seen in each context, with their discounted counts summed up.

    contexts  [h] ascending
    starts    [h + 1] where each context's tokens begin
    tokens    [n]
    sums      [n + 1] of c - D, from the first on
    totals    [h] of c
    """

    contexts: np.ndarray
    starts: np.ndarray
    tokens: np.ndarray
    sums: np.ndarray
    totals: np.ndarray

    @classmethod
    def of(cls, contexts: np.ndarray, tokens: np.ndarray, size: int, *, discounted: bool = True) -> _Seen:
        """From every place's context and token, [n] each."""
        keys, counts = np.unique(contexts * np.uint64(size) + tokens.astype(np.uint64), return_counts=True)
        owner = keys // np.uint64(size)
        starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
        taken = discounts(counts)[np.minimum(counts, 3)] if discounted else 0.0
        return cls(
            contexts=owner[starts],
            starts=np.append(starts, len(keys)),
            tokens=(keys % np.uint64(size)).astype(np.int32),
            sums=np.append(0.0, np.cumsum(counts - taken)),
            totals=np.add.reduceat(counts, starts).astype(np.float64),
        )

    def draw(self, contexts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[N] a token drawn by (c - D) / total; -1 where the rest of the probability was drawn, or nothing was seen."""
        at = np.minimum(np.searchsorted(self.contexts, contexts), len(self.contexts) - 1)
        begin, end = self.starts[at], self.starts[at + 1]
        wanted = self.sums[begin] + rng.random(len(contexts)) * self.totals[at]
        hit = np.minimum(np.searchsorted(self.sums, wanted, side="right") - 1, end - 1)
        found = (self.contexts[at] == contexts) & (wanted < self.sums[end])
        return np.where(found, self.tokens[hit], -1)


class Statistics:
    """What objectives may ask of a stream, counted when they ask; of a stream of more than `at_most` tokens, in blocks
    spread evenly over it."""

    def __init__(self, stream: Stream, vocabulary: Vocabulary, *, at_most: int = COUNT_AT_MOST) -> None:
        self._stream, self._vocabulary, self._at_most = stream, vocabulary, at_most

    def counts(self) -> np.ndarray:
        """[V] how often each token stands in it."""
        found = np.zeros(self._vocabulary.size, dtype=np.int64)
        for _, tokens in self._blocks():
            found += np.bincount(tokens, minlength=len(found))
        return found

    def fillers(self) -> dict[int, BidirectionalNGram]:
        """{number of a language: what may stand between two of its tokens}; nothing where no language was named."""
        table, text = self._stream.table, self._vocabulary.text_table()
        if table is None:
            return {}
        found = []
        for start, tokens in self._blocks():
            middle = 1 + np.flatnonzero(text[tokens[1:-1]])
            language = table.languages(start + middle)
            found.append(np.stack([language, tokens[middle - 1], tokens[middle], tokens[middle + 1]]))
        languages, left, tokens, right = np.concatenate(found, axis=1)
        return {
            number: BidirectionalNGram.count(left[own], tokens[own], right[own], self._vocabulary.size)
            for number in np.unique(languages).tolist()
            for own in [languages == number]
        }

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(where it begins, its tokens)."""
        length, block = self._stream.token_count, BLOCK
        starts = np.arange(0, length, block)
        if length > self._at_most:
            starts, block = spread(length, self._at_most)
        for start in starts.tolist():
            yield start, self._stream.read(start, min(start + block, length))[0]
