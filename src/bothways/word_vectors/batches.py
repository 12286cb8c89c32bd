"""A text as batches for CBOW, drawn anew for every epoch, a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from bothways.word_vectors.sampling import Bags, Windows, keep_probabilities, noise
from bothways.word_vectors.words import WordCounts, WordText

CHUNK = 1 << 18
"""Words of the text drawn at a time."""
BLOCK, NEGATIVES = 32, 16
"""Words that share negatives, and how many: one for 10 of word2vec's. With 40, runs diverged."""
LARGEST, STEPS = 2048, 1000
"""Words in a step at most, and how many steps a run has at least: a small text is read in smaller batches."""


@dataclass(frozen=True, slots=True)
class CbowBatch:
    """Words of a text, in its order; B blocks of them share K negatives each.

    words      int64 [N]
    context    for every word the places [0, N) of its window
    mirror     for every word the places in whose window it stands
    negatives  int64 [B, K], each block's for its N/B words
    weight     k/K: how many of word2vec's negatives one stands for
    stands     float32 [N, 1], how often each word stands in the batch
    moved      float32 [N, 1], and how often as a word or as a negative, by weight
    pushed     float32 [B, K, 1], the same of the negatives
    """

    words: torch.Tensor
    context: Bags
    mirror: Bags
    negatives: torch.Tensor
    weight: float
    stands: torch.Tensor
    moved: torch.Tensor
    pushed: torch.Tensor


class Batches:
    """Draws what word2vec draws: words by frequency, windows of 1 to `window` words, negatives for them.

    A word that is not kept is gone before windows are laid, as in word2vec.c. The edge of a batch is the edge of its
    windows too: of 2,048 words, six lose some of their context.
    """

    def __init__(self, words: WordCounts, *, window: int, negative: int, sample: float, readings: int = 1) -> None:
        self.keep = keep_probabilities(words.counts, sample)
        self.noise = noise(words.counts)
        self.negative = negative
        wanted = readings * float(self.keep @ words.counts) / STEPS  # in words, so that there are enough steps
        self.size = int(np.clip(wanted, 2 * BLOCK, LARGEST)) // BLOCK * BLOCK
        self._upto = np.cumsum(self.noise)
        self._window, self._windows = window, Windows(self.size, window)
        self._moves = np.zeros(len(self.noise), dtype=np.float32)  # of each word in a batch; zero between batches

    def __call__(self, text: WordText, key: tuple[int, ...]) -> Iterator[tuple[int, CbowBatch]]:
        """Batches of one reading, each with the number of the text's words that were read before and for it.

        Args:
            text: to be read.
            key: where all random numbers come from, such as (seed, epoch).
        """
        left = np.empty((3, 0), dtype=np.int64)  # words, documents, reaches
        for start in range(0, len(text.words), CHUNK):
            stop = min(start + CHUNK, len(text.words))
            rng = np.random.default_rng((*key, start))
            words = text.words[start:stop]
            kept = np.flatnonzero(rng.random(len(words)) < self.keep[words])
            reaches = rng.integers(1, self._window + 1, len(kept))
            drawn = np.concatenate([left, np.stack([words[kept], text.documents[start:stop][kept], reaches])], axis=1)
            whole = drawn.shape[1] - drawn.shape[1] % self.size if stop < len(text.words) else drawn.shape[1]
            for at in range(0, whole, self.size):
                upto = min(at + self.size, whole)
                yield start + (stop - start) * upto // whole, self._batch(drawn[:, at:upto], rng)
            left = drawn[:, whole:]

    def _batch(self, drawn: np.ndarray, rng: np.random.Generator) -> CbowBatch:
        words, documents, reaches = drawn
        count = len(words)
        blocks = count // BLOCK if count % BLOCK == 0 else 1  # the text's end is one block
        drawn_at = rng.random((blocks, NEGATIVES * -(-count // (blocks * BLOCK)))) * self._upto[-1]
        negatives = np.searchsorted(self._upto, drawn_at, side="right")
        context, mirror = self._windows(documents, reaches)
        weight = self.negative / negatives.shape[1]
        counted = self._count(words, negatives, weight * count / blocks)
        stands, moved, pushed = (torch.from_numpy(counts)[..., None] for counts in counted)
        numbers = torch.from_numpy(words), torch.from_numpy(negatives)
        return CbowBatch(numbers[0], context, mirror, numbers[1], weight, stands, moved, pushed)

    def _count(self, words: np.ndarray, negatives: np.ndarray, mass: float) -> tuple[np.ndarray, ...]:
        """CbowBatch's `stands`, `moved` and `pushed`; a negative counts `mass` times."""
        moves = self._moves
        np.add.at(moves, words, np.float32(1))
        stands = moves[words]
        np.add.at(moves, negatives.ravel(), np.float32(mass))
        moved, pushed = moves[words], moves[negatives]
        moves[words] = moves[negatives] = 0
        return stands, moved, pushed
