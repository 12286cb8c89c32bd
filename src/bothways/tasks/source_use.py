"""Does a model that writes use its source? What it writes is scored against the references of other examples, too: a
model that ignores its source does as well there.

Letters: E examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.statistics import OF_SCORES, resamples
from bothways.tasks.task import Example, Predictions
from bothways.tasks.text_scores import TextScores

SHUFFLES = 5


@dataclass(frozen=True, slots=True)
class SourceUse:
    """A metric with each example's own source, and with those of others: the mean of some shuffles, in none of which an
    example keeps its source. `low` and `high` are the ends of the 95 % bootstrap interval of the difference."""

    metric: str
    own: float
    shuffled: float
    low: float
    high: float

    @property
    def ignored(self) -> bool:
        """Whether the difference may be chance."""
        return self.low <= 0

    def __str__(self) -> str:
        span = f"the difference is {self.low:.4f} to {self.high:.4f}"
        return f"{self.metric} {self.own:.4f} with its own sources, {self.shuffled:.4f} with shuffled ones; {span}"


def source_use(metric: str, examples: Sequence[Example], predictions: Predictions) -> SourceUse | None:
    """What is written for a source depends on the source alone, so nothing is written anew: the texts change places.

    None where fewer than two examples have different sources.
    """
    texts, golds = [one["text"] for one in predictions], [example.gold for example in examples]
    sources = [example.texts[0] for example in examples]
    places = shuffles(sources, SHUFFLES)
    if not places:
        return None
    own = TextScores(texts, golds, sources)
    others = [TextScores([texts[i] for i in some], golds, sources) for some in places]

    def both(drawn: Sequence[int]) -> tuple[float, float]:
        return own.one(metric, drawn), float(np.mean([other.one(metric, drawn) for other in others]))

    true, shuffled = both(range(len(texts)))
    apart = [one - other for one, other in (both(some.tolist()) for some in resamples(len(texts), OF_SCORES))]
    low, high = np.quantile(apart, (0.025, 0.975))
    return SourceUse(metric, true, shuffled, float(low), float(high))


def shuffles(sources: Sequence[str], count: int, *, seed: int = 0) -> list[list[int]]:
    """At most so many orders of the examples in which none has its own source, or one that is the same text."""
    places = Counter(sources)
    names = np.random.default_rng(seed).permutation(len(places)).tolist()
    turn = dict(zip(places, names, strict=True))
    order = sorted(range(len(sources)), key=lambda i: turn[sources[i]])  # equal ones lie side by side
    equal = max(places.values(), default=1)  # a shift by so many parts them all
    if 2 * equal > len(sources):
        return []
    found = []
    for shift in np.linspace(equal, len(sources) - equal, count, dtype=int).tolist():
        place = [0] * len(sources)
        for rank, i in enumerate(order):
            place[i] = order[(rank + shift) % len(order)]
        found.append(place)
    return [list(one) for one in dict.fromkeys(map(tuple, found))]
