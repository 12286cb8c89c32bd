"""What counting alone can do: unigram, bigram and trigram models of pieces, for a trained model to be measured against.

Interpolated modified Kneser-Ney (Chen & Goodman 1999, "An empirical study of smoothing techniques for language
modeling", section 3), the strongest of the classical smoothings, so that beating it means something. With h a history,
h' the same history without its first piece and w the next piece:

    p(w | h) = max(a(hw) - D(a(hw)), 0) / sum_v a(hv)  +  g(h) p(w | h')         where h was seen
    p(w | h) = p(w | h')                                                          where it was not
    g(h)     = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / sum_v a(hv)                    what the discounts took away

    a(hw)    how often hw occurs, at the highest order; below it, how many different pieces come before hw
             (if h begins with [CLS], which nothing comes before: how often it occurs)
    N1, N2, N3+   how many w follow h with a(hw) = 1, 2, 3 or more
    D1 = 1 - 2 Y n2 / n1,  D2 = 2 - 3 Y n3 / n2,  D3+ = 3 - 4 Y n4 / n3,  Y = n1 / (n1 + 2 n2)
             from the numbers n1..n4 of n-grams of that order with a = 1..4; where these make no sense (tiny texts,
             unigrams of which none is rare) 0.5, 1, 1.5 stand in

Below the unigrams lies the uniform distribution over everything that can be predicted: all pieces but [CLS] and [PAD].
A history never crosses a document: it ends at [CLS], which is its first piece.

A model is kept as seen n-grams with their finished probability and seen histories with their g, in sorted arrays of
uint64 keys, so that reading is a search and nothing loops over pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.batch import Vocabulary

COUNT_AT_MOST = 20_000_000
BLOCK = 1 << 16
NAMES = {1: "unigram", 2: "bigram", 3: "trigram"}


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an n-gram model reaches on held-out rows.

    nats            mean negative log-probability of a predicted piece (everything but [CLS] and [PAD])
    next_accuracy   share of predicted pieces that were the most probable next piece
    fill_accuracy   share of text pieces equal to the commonest text piece; None but for the unigram, since the others
                    do not look at both sides
    counted, of     pieces that were counted, of so many in the training text
    """

    nats: float
    next_accuracy: float
    fill_accuracy: float | None
    counted: int
    of: int


@dataclass(frozen=True, slots=True)
class _Table:
    """One order: n-grams [n] with probabilities, their histories [h] with what is passed on to the order below.

    keys are numbers in base V, the oldest piece first, ascending: ngrams = history * V + piece.
    """

    ngrams: np.ndarray
    probability: np.ndarray
    histories: np.ndarray
    passed_on: np.ndarray
    best: np.ndarray
    best_probability: np.ndarray

    @classmethod
    def of(cls, ngrams: np.ndarray, counts: np.ndarray, size: int, below: _Table | float) -> _Table:
        """The table of n-grams [n] ascending, seen counts [n] times; `below` is the order below, or the uniform."""
        history = ngrams // np.uint64(size)
        starts = np.flatnonzero(np.concatenate([[True], history[1:] != history[:-1]]))
        lengths = np.diff(np.append(starts, len(ngrams)))
        histories = history[starts]
        discount = discounts(counts)[np.minimum(counts, 3)]
        total = np.add.reduceat(counts, starts)
        passed_on = np.add.reduceat(discount, starts) / total
        shorter = _shorter(ngrams, history, size)
        lower = below if isinstance(below, float) else below.probability[np.searchsorted(below.ngrams, shorter)]
        probability = (counts - discount) / np.repeat(total, lengths) + np.repeat(passed_on, lengths) * lower
        best_probability = np.maximum.reduceat(probability, starts)
        peaks = np.flatnonzero(probability == np.repeat(best_probability, lengths))
        best = (ngrams[peaks[np.searchsorted(peaks, starts)]] % np.uint64(size)).astype(np.int64)
        if not isinstance(below, float):  # the best piece may be one that never followed this history
            at = np.searchsorted(below.histories, _shorter_history(histories, size, below))
            unseen = passed_on * below.best_probability[at]
            best = np.where(unseen > best_probability, below.best[at], best)
            best_probability = np.maximum(best_probability, unseen)
        return cls(ngrams, probability, histories, passed_on, best, best_probability)
