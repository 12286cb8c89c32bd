"""What counting alone can do: unigram, bigram and trigram models of tokens, for a trained model to be measured against.

Interpolated modified Kneser-Ney (Chen & Goodman 1999, "An empirical study of smoothing techniques for language
modeling", section 3), the strongest of the classical smoothings, so that beating it means something. With h a history,
h' the same history without its first token and w the next token:

    p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv)  +  g(h) p(w | h')       where h was seen; D(0) = 0
    p(w | h) = p(w | h')                                                 where it was not
    g(h)     = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / sum_v a(hv)           what the discounts took away

    a(hw)          how often hw occurs, at the highest order; below it, how many different tokens come before hw
                   (if h begins with [CLS], which nothing comes before: how often it occurs)
    N1, N2, N3+    how many w follow h with a(hw) = 1, 2, 3 or more
    D1 = 1 - 2 Y n2 / n1,  D2 = 2 - 3 Y n3 / n2,  D3+ = 3 - 4 Y n4 / n3,  Y = n1 / (n1 + 2 n2)
                   from n1..n4, the numbers of n-grams of that order with a = 1..4; where these make no sense (tiny
                   texts, unigrams of which none is rare) 0.5, 1 and 1.5 stand in

Below the unigrams lies the uniform distribution over everything that can be predicted: all tokens but [CLS] and [PAD].
A history never crosses a document: it ends at [CLS], which is its first token.

A model is kept as the seen n-grams with their finished probability and the seen histories with their g, in sorted
arrays of uint64 keys (numbers in base V, the oldest token first), so that reading is a search and nothing loops over
tokens. Counting takes about a second a million tokens, and at its peak 35 bytes a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bothways.batch import Vocabulary
from bothways.errors import DataError

if TYPE_CHECKING:
    from bothways.corpus.shards import Stream

COUNT_AT_MOST = 20_000_000
NAMES = ("unigram", "bigram", "trigram")
"""Of the orders from 1 up."""
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an n-gram model reaches on held-out rows.

    nats            mean negative log-probability of a predicted token (everything but [CLS] and [PAD])
    next_accuracy   share of predicted tokens that were the most probable next token
    fill_accuracy   share of text tokens equal to the commonest text token; of the unigram only, since it is the one
                    that looks to no side
    counted, of     tokens that were counted, of so many in the training text
    """

    nats: float
    next_accuracy: float
    fill_accuracy: float | None
    counted: int
    of: int


@dataclass(frozen=True, slots=True)
class NGrams:
    """Three models counted on one text; `tables[order]` lists the tables of that model from the unigrams up."""

    vocabulary: Vocabulary
    commonest: int
    counted: int
    of: int
    tables: dict[int, tuple[_CountTable, ...]]

    @classmethod
    def count(cls, tokens: np.ndarray | Stream, vocabulary: Vocabulary, *, at_most: int = COUNT_AT_MOST) -> NGrams:
        """Count a stream [n] of documents laid end to end, each opened by [CLS].

        Of more than `at_most` tokens only blocks of 65,536 are read, spread evenly over all (`counted` of `of`).

        Raises:
            DataError: tokens outside the vocabulary, or no document with a token of text.
        """
        read, counted = _spread(tokens, at_most, vocabulary.pad)
        size, depth = vocabulary.size, _depth(read, vocabulary)
        two, two_counts = _counted(_ngrams(read, depth, 2, size))
        if not len(two):
            raise DataError(
                f"counting n-grams needs a text with at least one token after [CLS], got {len(tokens)} tokens and none "
                "such. Prepare the corpus again with more text."
            )
        one, one_counts = _counted(_ngrams(read, depth, 1, size))
        three, three_counts = _counted(_ngrams(read, depth, 3, size))
        text = vocabulary.text_table()[one.astype(np.int64)]
        uniform = _uniform(vocabulary)
        base = _CountTable.of(*_counted(two % np.uint64(size)), size, 1, uniform)
        middle = _CountTable.of(*_preceded(two, two_counts, three, vocabulary), size, 2, base)
        tables = {
            1: (_CountTable.of(one, one_counts, size, 1, uniform),),
            2: (base, _CountTable.of(two, two_counts, size, 2, base)),
            3: (base, middle, _CountTable.of(three, three_counts, size, 3, middle)) if len(three) else (base, middle),
        }
        commonest = int(one[np.argmax(np.where(text, one_counts, -1))])
        return cls(vocabulary, commonest, counted, len(tokens), tables)

    def score(self, tokens: np.ndarray, order: int) -> np.ndarray:
        """[n] -log p of every token given up to order - 1 tokens before it, in nats; 0 at [CLS] and [PAD].

        The slice [n] may begin anywhere: a history reaches back to the last [CLS], or to the beginning of the slice,
        where a history that is too short reads the lower orders of the same model.
        """
        size, depth = self.vocabulary.size, _depth(tokens, self.vocabulary)
        probability = np.full(len(tokens), _uniform(self.vocabulary))
        for known, table in enumerate(self.tables[order]):
            at = np.flatnonzero(depth >= known)
            history = _history(tokens, at, known, size)
            probability[at] = table.probabilities(history, tokens[at], size, probability[at])
        return np.where(depth >= 0, -np.log(probability), 0.0)

    def guess(self, tokens: np.ndarray, order: int) -> np.ndarray:
        """[n] the most probable token at every place, given what `score` is given; -1 at [CLS] and [PAD]."""
        depth = _depth(tokens, self.vocabulary)
        guess = np.full(len(tokens), -1, dtype=np.int64)
        for known, table in enumerate(self.tables[order]):
            at = np.flatnonzero(depth >= known)
            place, found = _find(table.histories, _history(tokens, at, known, self.vocabulary.size))
            guess[at[found]] = table.best[place[found]]
        return guess

    def baseline(self, tokens: np.ndarray, order: int) -> Baseline:
        """The figures of one model over held-out tokens [n] (rows laid end to end)."""
        predicted = _depth(tokens, self.vocabulary) >= 0
        if not predicted.any():
            raise DataError("measuring n-grams needs held-out rows with text, got none. Enlarge the validation split.")
        text = tokens[self.vocabulary.text_table()[tokens]]
        return Baseline(
            nats=float(self.score(tokens, order)[predicted].mean()),
            next_accuracy=float((self.guess(tokens, order) == tokens)[predicted].mean()),
            fill_accuracy=float((text == self.commonest).mean()) if order == 1 and len(text) else None,
            counted=self.counted,
            of=self.of,
        )


def baselines(
    train: np.ndarray | Stream,
    validation_rows: Sequence[np.ndarray],
    vocabulary: Vocabulary,
    *,
    at_most: int = COUNT_AT_MOST,
) -> dict[str, Baseline]:
    """Unigram, bigram and trigram, counted on the training stream [n] and read on the rows as a model sees them.

    Each row begins with [CLS], also where its window begins inside a document, so that the n-grams are given exactly
    what a left-to-right model is given.
    """
    grams = NGrams.count(train, vocabulary, at_most=at_most)
    held_out = np.concatenate(list(validation_rows)) if len(validation_rows) else np.zeros(0, dtype=np.int64)
    return {name: grams.baseline(held_out, order) for order, name in enumerate(NAMES, 1)}


@dataclass(frozen=True, slots=True)
class _CountTable:
    """One order: seen n-grams [n] with p(w | h); their histories [h] with g(h) and the most probable w."""

    ngrams: np.ndarray
    probability: np.ndarray
    histories: np.ndarray
    passed_on: np.ndarray
    best: np.ndarray
    best_probability: np.ndarray

    @classmethod
    def of(
        cls, ngrams: np.ndarray, counts: np.ndarray, size: int, order: int, below: _CountTable | float
    ) -> _CountTable:
        """From n-grams [n], ascending, with a(hw) [n]; `below` is the next lower order, or the uniform probability."""
        history = ngrams // np.uint64(size)
        starts = np.flatnonzero(np.append(True, history[1:] != history[:-1]))
        lengths = np.diff(np.append(starts, len(ngrams)))
        histories = history[starts]
        del history
        discount = discounts(counts)[np.minimum(counts, 3)]
        total = np.add.reduceat(counts, starts)
        passed_on = np.add.reduceat(discount, starts) / total
        probability = (counts - discount) / np.repeat(total, lengths)
        del discount
        lower = np.repeat(passed_on, lengths)
        if isinstance(below, float):
            lower *= below
        else:  # a seen n-gram was seen without its first token too
            lower *= below.probability[np.searchsorted(below.ngrams, ngrams % np.uint64(size ** (order - 1)))]
        probability += lower
        best_probability = np.maximum.reduceat(probability, starts)
        peaks = np.flatnonzero(probability == np.repeat(best_probability, lengths))
        best = (ngrams[peaks[np.searchsorted(peaks, starts)]] % np.uint64(size)).astype(np.int64)
        if not isinstance(below, float):  # the best token may be one that never followed this history
            at = np.searchsorted(below.histories, histories % np.uint64(size ** (order - 2)))
            unseen = passed_on * below.best_probability[at]
            best = np.where(unseen > best_probability, below.best[at], best)
            best_probability = np.maximum(best_probability, unseen)
        return cls(ngrams, probability, histories, passed_on, best, best_probability)

    def probabilities(self, history: np.ndarray, tokens: np.ndarray, size: int, lower: np.ndarray) -> np.ndarray:
        """[n] p(w | h), given the histories' keys [n], the tokens [n] and p(w | h') [n]."""
        place, found = _find(self.histories, history)
        result = np.where(found, self.passed_on[place] * lower, lower)
        place, found = _find(self.ngrams, history * np.uint64(size) + tokens.astype(np.uint64))
        return np.where(found, self.probability[place], result)


def discounts(counts: np.ndarray) -> np.ndarray:
    """[4] what is taken from a count of 0, 1, 2, 3 or more; estimated from how many counts [n] are 1, 2, 3 and 4."""
    one, two, three, four = (int(n) for n in np.bincount(np.minimum(counts, 5), minlength=6)[1:5])
    if min(one, two, three, four) > 0:
        share = one / (one + 2 * two)
        estimated = (1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three)
        if all(0 < discount < count for count, discount in enumerate(estimated, 1)):
            return np.array((0.0, *estimated))
    return np.array((0.0, 0.5, 1.0, 1.5))


def _uniform(vocabulary: Vocabulary) -> float:
    return 1.0 / (vocabulary.size - len({vocabulary.cls, vocabulary.pad}))


def _preceded(
    two: np.ndarray, two_counts: np.ndarray, three: np.ndarray, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """Bigrams with the number of different tokens before each; those that open a document, with how often they do."""
    size = np.uint64(vocabulary.size)
    ngrams, counts = _counted(three % (size * size))
    opening = two // size == np.uint64(vocabulary.cls)
    at = np.searchsorted(ngrams, two[opening])
    return np.insert(ngrams, at, two[opening]), np.insert(counts, at, two_counts[opening])


def _depth(tokens: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """[n] int8: how many tokens of history there are, 2 at most; -1 where nothing is predicted ([CLS] and [PAD])."""
    if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary.size:
        raise DataError(
            f"expected tokens from 0 to {vocabulary.size - 1}, got {int(tokens.min())} to {int(tokens.max())}. "
            "Prepare the corpus again with the tokenizer of this run."
        )
    opens, real = tokens == vocabulary.cls, tokens != vocabulary.pad
    depth: np.ndarray = (real & ~opens).astype(np.int8)
    depth[1:] += (depth[1:] == 1) & real[:-1]
    depth[2:] += (depth[2:] == 2) & ~opens[1:-1] & real[:-2]
    return depth - np.int8(1)


def _ngrams(tokens: np.ndarray, depth: np.ndarray, order: int, size: int) -> np.ndarray:
    """[m] the keys of all n-grams of one order, in the order of the text."""
    whole = depth[order - 1 :] >= order - 1
    keys = np.zeros(int(whole.sum()), dtype=np.uint64)
    for first in range(order):
        keys *= np.uint64(size)
        keys += tokens[first : first + len(whole)][whole].astype(np.uint64)
    return keys


def _counted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different keys, ascending, and how often each occurs; sorts in place."""
    keys.sort()
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    return keys[starts], np.diff(np.append(starts, len(keys)))


def _history(tokens: np.ndarray, at: np.ndarray, known: int, size: int) -> np.ndarray:
    """[m] the keys of the `known` tokens before each place."""
    keys = np.zeros(len(at), dtype=np.uint64)
    for back in range(known, 0, -1):
        keys = keys * np.uint64(size) + tokens[at - back].astype(np.uint64)
    return keys


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted key stands among the ascending keys, and whether it does."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, keys[place] == wanted


def spread(length: int, at_most: int) -> tuple[np.ndarray, int]:
    """Where blocks begin that are spread evenly over a text longer than `at_most`, and how long each is."""
    block = min(BLOCK, at_most)
    return np.linspace(0, length - block, at_most // block).astype(np.int64), block


def _spread(tokens: np.ndarray | Stream, at_most: int, pad: int) -> tuple[np.ndarray, int]:
    """All tokens, or blocks of a longer text, parted by [PAD], over which no history reaches; how many are counted."""
    if len(tokens) <= at_most:
        return tokens[:], len(tokens)
    starts, block = spread(len(tokens), at_most)
    read = np.full((len(starts), block + 1), pad, dtype=tokens[:1].dtype)
    for row, start in enumerate(starts):
        read[row, :block] = tokens[start : start + block]
    return read.reshape(-1), len(starts) * block
