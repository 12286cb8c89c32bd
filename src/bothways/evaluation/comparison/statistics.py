"""Which differences are more than chance? Of seeds and of items, both.

Every model answers the same items, and the runs of one seed read the same text in the same order. So a figure is
y[k, s] (objective k, seed s), and two objectives are compared within seeds and within items:

    seeds   residuals of y after the means of objectives and of seeds, pooled over all objectives: a two-way analysis
            of variance without replication; (K - 1)(S - 1) degrees of freedom
    items   standard error of the difference over resampled items (bootstrap), averaged over seeds first; N - 1

Both variances add up; the degrees of freedom of the sum are Satterthwaite's (1946). The half-width is Tukey's: 95 % for
all pairs of objectives of a yardstick together, so that a table of many objectives does not name a winner by luck.

Letters: K objectives, S seeds, N items, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from bothways.evaluation.comparison.metrics import ScoredItems

RESAMPLES, CONFIDENCE = 1000, 0.95
AT_ONCE = 2**24  # numbers of a bootstrap in memory


@dataclass(frozen=True, slots=True)
class Compared:
    """Objectives on one yardstick.

    figures    [K, S]
    means      [K] over the seeds
    halves     [K, K] half-width of the interval around each difference of means
    seed_sd    pooled standard deviation of one run around its objective's mean, given its seed; nan of a single seed
    """

    figures: np.ndarray
    means: np.ndarray
    halves: np.ndarray
    seed_sd: float

    def exceeds(self, one: int, other: int) -> bool:
        """The difference is larger than its interval: it is not put down to chance."""
        return bool(abs(self.means[one] - self.means[other]) > self.halves[one, other])


def compared(items: Sequence[Sequence[ScoredItems]]) -> Compared:
    """items[k][s] of K objectives and S seeds, all over the same N items."""
    figures = np.array([[one.figure for one in some] for some in items])  # [K, S]
    objectives, seeds = figures.shape
    count = len(items[0][0].value)
    of_items = _item_errors(items) ** 2 * count / max(count - 1, 1)
    if objectives == 1:
        return Compared(figures, figures.mean(1), np.zeros((1, 1)), math.nan)
    if seeds == 1:
        return Compared(figures, figures[:, 0], _tukey(objectives, max(count - 1, 1)) * np.sqrt(of_items), math.nan)
    residuals = figures - figures.mean(1, keepdims=True) - figures.mean(0, keepdims=True) + figures.mean()
    freedom = (objectives - 1) * (seeds - 1)
    variance = float((residuals**2).sum() / freedom)
    both = 2 * variance / seeds + of_items
    parts = (2 * variance / seeds) ** 2 / freedom + of_items**2 / max(count - 1, 1)
    freedoms = np.divide(both**2, parts, out=np.full_like(both, freedom), where=parts > 0)
    widths = np.vectorize(lambda one: _tukey(objectives, round(one)))(freedoms)
    return Compared(figures, figures.mean(1), widths * np.sqrt(both), math.sqrt(variance))


def _item_errors(items: Sequence[Sequence[ScoredItems]]) -> np.ndarray:
    """[K, K] standard errors of the differences of two objectives' means over seeds, over resampled items."""
    value = np.stack([np.mean([one.value for one in some], axis=0) for some in items])  # [K, N]
    weight = np.stack([np.mean([one.weight for one in some], axis=0) for some in items])
    rng, count = np.random.default_rng(0), value.shape[1]
    drawn, left = [], RESAMPLES
    while left:
        some = min(left, max(1, AT_ONCE // count))
        times = rng.multinomial(count, np.full(count, 1 / count), size=some).astype(np.float64)  # [R, N]
        drawn.append((value @ times.T) / (weight @ times.T))
        left -= some
    figures = np.concatenate(drawn, axis=1)  # [K, R]
    return np.asarray((figures[:, None] - figures[None]).std(axis=2))


@cache
def _tukey(objectives: int, freedom: float) -> float:
    """How many standard errors a difference must have: the studentised range, for all pairs of means together."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(CONFIDENCE, objectives, min(freedom, 1e6)) / math.sqrt(2))
