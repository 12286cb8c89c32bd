"""What word2vec draws at random: which words are read, how far a window reaches, which words are the negatives.

Mikolov et al. 2013b, "Distributed representations of words and phrases and their compositionality", sections 2.2 and
2.3, and word2vec.c where it says more than the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def keep_probabilities(counts: np.ndarray, sample: float) -> np.ndarray:
    """float64 [V]: how probably a word is read, (sqrt(f / t) + 1) t / f for a share f of the text, at most 1.

    This is word2vec.c's; the paper's sqrt(t / f) drops more. t = 0 keeps all.
    """
    if not sample:
        return np.ones(len(counts))
    share = counts / counts.sum()
    return np.asarray(np.minimum(1.0, (np.sqrt(share / sample) + 1) * sample / share))


def noise(counts: np.ndarray) -> np.ndarray:
    """float64 [V]: the distribution of the negatives, the shares to the power of 0.75."""
    powers = np.asarray(counts, dtype=np.float64) ** 0.75
    return np.asarray(powers / powers.sum())


@dataclass(frozen=True, slots=True)
class Bags:
    """For every place of a text the places that belong to it, as torch.nn.functional.embedding_bag reads them.

    places   int64 [P], bag after bag
    sizes    int64 [N], of the bags, which may be empty
    """

    places: np.ndarray
    sizes: np.ndarray


class Windows:
    """Windows over texts of up to `longest` words, reaching `window` words at most to either side."""

    def __init__(self, longest: int, window: int) -> None:
        self._steps = [*range(-window, 0), *range(1, window + 1)]  # 2W of them
        self._far = np.abs(np.array(self._steps, dtype=np.int16))
        self._around = np.arange(longest)[:, None] + np.array(self._steps)  # [longest, 2W]

    def __call__(self, documents: np.ndarray, reaches: np.ndarray) -> tuple[Bags, Bags]:
        """The context of every place, and its mirror: of every place, the places in whose context it stands.

        Args:
            documents: [N], rising; a context stays within its document and within the N places.
            reaches: [N], how far each place's context goes to either side; 1 to `window`.
        """
        longest, window = len(documents), len(self._steps) // 2
        before, after = _room(documents, reaches)
        seen = np.empty((longest, 2 * window), dtype=bool)
        np.less_equal(self._far[:window], before[:, None], out=seen[:, :window])
        np.less_equal(self._far[window:], after[:, None], out=seen[:, window:])
        mirror = np.zeros_like(seen)
        for column, step in enumerate(self._steps):  # j stands in i's context, i = j + step, if i sees i - step
            here = slice(max(0, -step), max(0, longest - max(0, step)))
            there = slice(max(0, step), max(0, longest + min(0, step)))
            mirror[here, column] = seen[there, -1 - column]
        around = self._around[:longest]
        sizes = (before + after).astype(np.int64)
        return Bags(around[seen], sizes), Bags(around[mirror], mirror.sum(axis=1))


def _room(documents: np.ndarray, reaches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each context goes to the left and to the right: int16 [N] each."""
    edges = np.flatnonzero(np.diff(documents)) + 1
    lengths = np.diff(edges, prepend=0, append=len(documents))
    firsts = np.repeat(np.concatenate([[0], edges]), lengths)
    left = np.arange(len(documents)) - firsts
    right = np.repeat(lengths, lengths) - 1 - left
    return np.minimum(reaches, left).astype(np.int16), np.minimum(reaches, right).astype(np.int16)
