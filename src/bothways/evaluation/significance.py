"""Which figures, and which differences between models that answered the same items, are more than chance?

Letters: N items, T templates, R resamples, M comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

RESAMPLES = 1000


def ranks(values: np.ndarray) -> np.ndarray:
    """[N] from 1; equal values share the mean of theirs."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the ranks; 0 where one of them does not vary."""
    a, b = ranks(one), ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size else 0.0


def figure(value: np.ndarray, gold: np.ndarray | None, weight: np.ndarray | None = None) -> float:
    """The mean of the items' values, the sum of them by that of the weights, or the rank correlation to what people
    said."""
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
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        some = rng.integers(0, len(gold), len(gold))
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
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, most = [1.0] * len(values), 0.0
    for place, number in enumerate(order):
        most = max(most, min(1.0, values[number] * (len(values) - place)))
        corrected[number] = most
    return corrected
