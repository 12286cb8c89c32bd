"""How contextual are states? Three measures of one layer (Ethayarajh 2019, section 3), each with its baseline.

A cosine of 0.9 means nothing where any two words have one of 0.9: from every measure, what random words give is taken.

Letters: N occurrences of words, D width, W words, S texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bothways.word_vectors.store import unit_vectors

SAMPLE = 1000
"""Random occurrences whose mean cosine is the anisotropy of a layer."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One layer; `adjusted` figures have their baseline taken off.

    self_similarity  [W] mean cosine of two occurrences of a word, over all pairs
    intra            mean cosine of a word in a text to the text's mean
    explained        mean share of a word's occurrences that one vector explains
    anisotropy       mean cosine of two random occurrences: the baseline of the first two
    explained_random the same share for as many random occurrences
    """

    self_similarity: np.ndarray
    intra: float
    explained: float
    anisotropy: float
    explained_random: float

    def figures(self) -> dict[str, float]:
        """The measures and their baselines by name, for a table or a file."""
        same = float(self.self_similarity.mean())
        return {
            "self_similarity": same,
            "intra_sentence": self.intra,
            "explained": self.explained,
            "anisotropy": self.anisotropy,
            "explained_random": self.explained_random,
            "self_similarity_adjusted": same - self.anisotropy,
            "intra_sentence_adjusted": self.intra - self.anisotropy,
            "explained_adjusted": self.explained - self.explained_random,
        }


def measured(states: np.ndarray, word: np.ndarray, text: np.ndarray, *, seed: int = 0) -> Measured:
    """Of one layer.

    Args:
        states: [N, D] of occurrences of words.
        word: [N] the number of each word, which stands at least twice; -1 for one that is only read as a neighbour.
        text: [N] the number of its text.
    """
    rng = np.random.default_rng(seed)
    unit, kept = unit_vectors(states), word >= 0
    some = rng.permutation(len(states))[:SAMPLE]
    return Measured(
        self_similarity=mean_cosines(unit[kept], word[kept]),
        intra=float(to_the_mean(states, unit, text).mean()),
        explained=explained(states[kept], word[kept]),
        anisotropy=float(mean_cosines(unit[some], np.zeros(len(some), dtype=np.int64))[0]),
        explained_random=explained(states[rng.permutation(len(states))[: kept.sum()]], word[kept]),
    )


def mean_cosines(unit: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[groups] the mean cosine over the unique pairs of each group, in O(N D): the squared length of the sum of n unit
    vectors is n plus twice the sum over all pairs."""
    sums, counts = sums_of(unit, group)
    return np.asarray(((sums**2).sum(1) - counts) / (counts * (counts - 1)))


def to_the_mean(states: np.ndarray, unit: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[groups] the mean cosine of a member to the mean of its group."""
    total, counts = sums_of(unit, group)
    middle = unit_vectors(sums_of(states, group)[0])
    return np.asarray((total * middle).sum(1) / counts)


def explained(states: np.ndarray, group: np.ndarray) -> float:
    """The share of the squared length of a group's members along their first singular vector, uncentred; the mean over
    groups."""
    order = np.argsort(group, kind="stable")
    edges = np.flatnonzero(np.diff(group[order])) + 1
    shares = []
    for some in np.split(states[order], edges):
        tall = some.T if len(some) < some.shape[1] else some
        spread = np.linalg.eigvalsh(tall.T.astype(np.float64) @ tall)
        shares.append(spread[-1] / max(spread.sum(), 1e-30))
    return float(np.mean(shares))


def sums_of(states: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 [groups, D] and [groups], in order of the groups' numbers."""
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(group[order])) + 1])
    counts = np.diff([*starts, len(group)])
    return np.add.reduceat(states[order], starts, axis=0, dtype=np.float64), counts.astype(np.float64)
