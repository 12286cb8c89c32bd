"""Which figures, and which differences between models that answered the same items, are more than chance?

Letters: N items, R resamples, M comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
LIKELY = 1.959964  # standard errors on either side: 95 %


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


def standard_error(values: Sequence[np.ndarray], gold: np.ndarray | None, weight: np.ndarray | None = None) -> float:
    """Of one model's figure, or of the difference of two models' over the same items [N].

    With weights the figure is a ratio: the error is that of its linear part (Cochran 1977, section 2.11). Else values
    are 0 to 1. Four items that are all right prove little: two right and two wrong ones are added (Agresti &
    Coull 1998), of pairs half an item of every kind (Agresti & Min 2005).
    """
    count = len(values[0])
    if weight is not None:
        apart = values[0] - (values[1] if len(values) > 1 else 0.0)
        rest = apart - weight * (apart.sum() / weight.sum())
        return math.sqrt(count / max(1, count - 1) * float((rest**2).sum())) / float(weight.sum())
    if gold is None and len(values) == 1:
        share = (values[0].sum() + 2) / (count + 4)
        return math.sqrt(float(share * (1 - share)) / (count + 4))
    if gold is None:
        apart = values[0] - values[1]
        variance = float(((apart**2).sum() + 1) / (count + 2) - (apart.sum() / (count + 2)) ** 2)
        return math.sqrt(variance / (count + 2))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        some = rng.integers(0, count, count)
        found = [spearman(value[some], gold[some]) for value in values]
        drawn.append(found[0] - (found[1] if len(found) > 1 else 0.0))
    return float(np.std(drawn))


def p_value(one: np.ndarray, other: np.ndarray, gold: np.ndarray | None, weight: np.ndarray | None = None) -> float:
    """Of the difference of two models over the same items, two-sided: the exact sign test where items are right or
    wrong (McNemar's, where there are no ties); of ratios and correlations by the normal distribution."""
    if gold is None and weight is None:
        from scipy.stats import binomtest

        ahead, behind = int((one > other).sum()), int((one < other).sum())
        return float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0
    difference = figure(one, gold, weight) - figure(other, gold, weight)
    error = standard_error([one, other], gold, weight)
    return math.erfc(abs(difference) / error / math.sqrt(2)) if error else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """p-values [M] corrected for their number (Holm 1979): under 0.05, the chance of any wrong one is at most 0.05."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, most = [1.0] * len(values), 0.0
    for place, number in enumerate(order):
        most = max(most, min(1.0, values[number] * (len(values) - place)))
        corrected[number] = most
    return corrected
