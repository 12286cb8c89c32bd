"""How far a figure could be off, and which differences are more than chance: every interval and test of the house.

bootstrap   scores of a test file: the middle 95 % over examples drawn with replacement
Mean        one metric over runs with several seeds: Student's t
estimate    the figure of a probe, or the difference of two models over the same items
compared    objectives over the same items and over seeds: Tukey's, for all pairs together
calibration, sign_test, holm, spearman, pearson

Letters: N items, T templates, R resamples, M comparisons, K objectives, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 1000
OF_SCORES = 200
"""Resamples of scores that are computed anew from the examples, which takes longer."""
BINS = 10
"""Of a calibration."""
AT_ONCE = 2**24
"""Numbers of a bootstrap in memory."""


def resamples(count: int, times: int, *, seed: int = 0) -> Iterator[np.ndarray]:
    """`times` draws of `count` items out of as many, with replacement: [count] numbers of items each."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        yield rng.integers(count, size=count)


def bootstrap(
    scores_of: Callable[[list[int]], dict[str, float]], count: int, *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """{metric: (low, high)}, the 95 % bootstrap confidence interval (percentiles) of the scores of `count` examples;
    `scores_of` computes them from the numbers of some; where there is none of some (nan), of the others."""
    found = [scores_of(some.tolist()) for some in resamples(count, OF_SCORES, seed=seed)]

    def end(name: str, share: float) -> float:
        numbers = [scores[name] for scores in found if not math.isnan(scores[name])]
        return float(np.quantile(numbers, share)) if numbers else math.nan

    return {name: (end(name, 0.025), end(name, 0.975)) for name in found[0]}


def bootstrap_difference(
    ours: Callable[[list[int]], dict[str, float]], theirs: Callable[[list[int]], dict[str, float]], count: int
) -> dict[str, tuple[float, float]]:
    """As `bootstrap`, of what the scores of one model are above another's for the same examples: drawn in pairs."""

    def better_by(drawn: list[int]) -> dict[str, float]:
        one, other = ours(drawn), theirs(drawn)
        return {name: one[name] - other[name] for name in one}

    return bootstrap(better_by, count)


@dataclass(frozen=True, slots=True)
class Mean:
    """Of one metric over runs: the mean, half of its 95 % interval (Student's t; nan of a single run), the values."""

    mean: float
    half: float
    values: list[float]

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Their mean with the half width of its 95 % interval, by Student's t."""
        count, spread = len(values), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        return cls(float(np.mean(values)), errors_in_an_interval(count - 1) * spread / math.sqrt(count), list(values))


def calibration(chances: np.ndarray, right: np.ndarray) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error (Guo et al. 2017, section 2), and of each bin (mean chance, share right, count).

    Args:
        chances: [N] what the model gave its own answer.
        right: [N] whether that answer was right.
    """
    place = np.minimum((chances * BINS).astype(int), BINS - 1)
    found = [
        (float(chances[place == i].mean()), float(right[place == i].mean()), int((place == i).sum()))
        for i in range(BINS)
        if (place == i).any()
    ]
    return sum(count * abs(mean - share) for mean, share, count in found) / max(len(chances), 1), found


def spearman(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """Correlation of the ranks; 0 where one of them does not vary."""
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic) if np.ptp(one) and np.ptp(other) else 0.0


def pearson(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """Correlation of the numbers; 0 where one of them does not vary."""
    from scipy.stats import pearsonr

    return float(pearsonr(one, other).statistic) if np.ptp(one) and np.ptp(other) else 0.0


def figure(value: np.ndarray, gold: np.ndarray | None, weight: np.ndarray | None = None) -> float:
    """The mean of the items' values, the sum of them by that of the weights, or the rank correlation to what
    people judged."""
    if weight is not None:
        return float(value.sum() / weight.sum())
    return float(value.mean()) if gold is None else spearman(value, gold)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, or the difference of two, with the ends of its 95 % interval, its standard error and the degrees of
    freedom that this has."""

    figure: float
    low: float
    high: float
    error: float
    freedom: float = math.inf

    @property
    def p(self) -> float:
        """How likely so large a figure is where the truth is 0, by Student's t."""
        from scipy.stats import t

        return float(2 * t.sf(abs(self.figure) / self.error, self.freedom)) if self.error else 1.0


def estimate(
    values: Sequence[np.ndarray],
    gold: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    template: np.ndarray | None = None,
) -> Estimate:
    """Of one model's figure, or of the difference of two models' over the same items [N].

    With weights the figure is a ratio: the error is that of its linear part (Cochran 1977, section 2.11), and the
    interval Student's, over N - 1. Else values are 0 to 1, and the interval is around what they would be with a few
    items more, since four items that are all right prove little: two right and two wrong (Agresti & Coull 1998), of
    pairs half an item of every kind (Agresti & Min 2005). Rank correlations are drawn anew.

    Items of one template are right or wrong together: where there are several, these are what was drawn. The interval
    is the widest of three: over items; over templates, by the ratio of their sums; and over their means, with a few
    templates more, since three templates that are all right prove little too.
    """
    found = _over_items(values, gold, weight)
    if template is None or len(np.unique(template)) < 2:
        return found
    of = np.unique(template, return_inverse=True)[1]
    size = np.bincount(of)
    sums = [np.bincount(of, value) for value in values]
    several = found, _over_items(sums, None, size), _over_items([one / size for one in sums], None, None)
    bottom = 1.0 - len(values)  # a difference may be -1
    return Estimate(
        found.figure,
        max(min(one.low for one in several), bottom),
        min(max(one.high for one in several), 1.0),
        max(one.error for one in several),
        len(size) - 1,
    )


def _over_items(values: Sequence[np.ndarray], gold: np.ndarray | None, weight: np.ndarray | None) -> Estimate:
    count, found = len(values[0]), [figure(value, gold, weight) for value in values]
    plain = centre = found[0] - (found[1] if len(found) > 1 else 0.0)
    freedom = math.inf
    if weight is not None:
        error, freedom = _of_a_ratio(values, weight), count - 1
    elif gold is not None:
        error = _drawn_anew(values, gold)
    elif len(values) == 1:
        centre = float((values[0].sum() + 2) / (count + 4))
        error = math.sqrt((float((values[0] ** 2).sum() + 2) / (count + 4) - centre**2) / (count + 4))
    else:
        apart = values[0] - values[1]
        centre = float(apart.sum() / (count + 2))
        error = math.sqrt((float((apart**2).sum() + 1) / (count + 2) - centre**2) / (count + 2))
    half = errors_in_an_interval(freedom) * error
    low, high = centre - half, centre + half
    if weight is None:  # shares and correlations end somewhere, and what was found is possible
        least = 0.0 if gold is None and len(values) == 1 else -1.0
        low, high = min(max(low, least), plain), max(min(high, 1.0), plain)
    return Estimate(plain, low, high, error, freedom)


@cache
def errors_in_an_interval(freedom: float) -> float:
    """How many standard errors are on either side of a figure, by Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def _of_a_ratio(values: Sequence[np.ndarray], weight: np.ndarray) -> float:
    apart = values[0] - (values[1] if len(values) > 1 else 0.0)
    rest = apart - weight * (apart.sum() / weight.sum())
    return math.sqrt(len(weight) / (len(weight) - 1) * float((rest**2).sum())) / float(weight.sum())


def _drawn_anew(values: Sequence[np.ndarray], gold: np.ndarray) -> float:
    drawn = []
    for some in resamples(len(gold), RESAMPLES):
        found = [spearman(value[some], gold[some]) for value in values]
        drawn.append(found[0] - (found[1] if len(found) > 1 else 0.0))
    return float(np.std(drawn))


def sign_test(one: np.ndarray, other: np.ndarray) -> float:
    """p of two models over the same items [N] that are right or wrong, two-sided and exact (McNemar's, where there are
    no ties)."""
    from scipy.stats import binomtest

    ahead, behind = int((one > other).sum()), int((one < other).sum())
    return float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """p-values [M] corrected for their number (Holm 1979): under 0.05, the chance of any wrong one is at most 0.05."""
    order = np.argsort(values, kind="stable")
    corrected = np.asarray(values)[order] * np.arange(len(values), 0, -1)
    found = np.empty(len(values))
    found[order] = np.maximum.accumulate(np.minimum(1.0, corrected))
    return [*found.tolist()]


@dataclass(frozen=True, slots=True)
class Compared:
    """Objectives on one metric.

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


def compared(value: np.ndarray, weight: np.ndarray) -> Compared:
    """Which differences of K objectives are more than chance, of seeds and of items, both?

    Every model answers the same items, and the runs of one seed read the same text in the same order. So a figure is
    y[k, s] (objective k, seed s), and two objectives are compared within seeds and within items:

        seeds   residuals of y after the means of objectives and of seeds, pooled over all objectives: a two-way
                analysis of variance without replication; (K - 1)(S - 1) degrees of freedom
        items   standard error of the difference over resampled items (bootstrap), averaged over seeds first; N - 1

    Both variances add up; the degrees of freedom of the sum are Satterthwaite's (1946). The half-width is Tukey's: 95 %
    for all pairs of objectives of a metric together, so that a table of many objectives does not name a winner by luck.

    Args:
        value: [K, S, N] of the same N items each.
        weight: [K, S, N]; a figure is the sum of the values by that of the weights.
    """
    figures = value.sum(2) / weight.sum(2)  # [K, S]
    objectives, seeds = figures.shape
    count = value.shape[2]
    if count == 1:  # of one item nothing is known of others
        apart = np.where(np.eye(objectives, dtype=bool), 0.0, math.inf)
        return Compared(figures, figures.mean(1), apart, math.nan)
    of_items = _item_errors(value, weight) ** 2 * count / (count - 1)
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


def _item_errors(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[K, K] standard errors of the differences of two objectives' means over seeds, over resampled items."""
    value, weight = value.mean(1), weight.mean(1)  # [K, N]
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
