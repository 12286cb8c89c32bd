"""How the hours of a search are dealt out: stage by stage, then the best once more, as long as is left.

A stage (what is tried together: optimisers and rates, then tokens in a step, then the decay) is successive halving
with budgets of 1, 2 and 4 units; the best of the one before stands in the next without being trained again. What a
unit is, follows from the hours and the worst case of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bothways.training.search.candidates import SearchCandidate, Stage, combinations_of, further
from bothways.training.search.halving import Trial, successive_halving

RUNGS = (1.0, 2.0, 4.0)
LAST = 8.0  # units that the last trials get at least, unless the machine slows down
LOWER = 0.5  # of its rate, at which the best is tried beside itself in the end: long runs want lower rates than short
Tried = Callable[[SearchCandidate, float], Trial]


def walk(
    stages: Sequence[Stage],
    default: Mapping[str, Any],
    unit: float,
    tried: Tried,
    dropped: Callable[[Trial], object],
) -> SearchCandidate:
    """The best candidate of the stages, each tried around the best of those before."""
    best, budgets = SearchCandidate(), [unit * rung for rung in RUNGS]
    for stage in stages:
        named = [best, *(best.changed(settings, default) for settings in combinations_of(stage))]
        candidates = [*{one.label: one for one in named}.values()]
        beyond = partial(one_further, len(candidates) + 1)
        rungs = successive_halving(candidates, budgets, tried, beyond=beyond, dropped=dropped)
        best = rungs[-1][0].candidate
    return best


def one_further(at_most: int, trials: Sequence[Trial]) -> SearchCandidate | None:
    """`further`, unless so many were tried already."""
    if len(trials) >= at_most:
        return None
    return further([trial.candidate for trial in trials], [trial.loss for trial in trials])


def last_two(best: SearchCandidate) -> tuple[SearchCandidate, SearchCandidate]:
    """The best, and the same at a lower rate."""
    return best, SearchCandidate(best.settings, best.rate * LOWER)


@dataclass(slots=True)
class WorstCase:
    """The most that a search takes: whatever is new is better than what was there, and has to be trained to the end.

    reused  the share of a candidate's run that one with a larger budget goes on from
    units   that were trained
    runs    that were begun, or gone on with
    """

    reused: Callable[[SearchCandidate], float]
    units: float = 0.0
    runs: int = 0
    _trials: dict[tuple[str, float], Trial] = field(default_factory=dict)

    @classmethod
    def of(
        cls, stages: Sequence[Stage], default: Mapping[str, Any], reused: Callable[[SearchCandidate], float]
    ) -> WorstCase:
        """Of the stages and of the last trials."""
        found = cls(reused)
        best = walk(stages, default, 1.0, found, lambda trial: None)
        for candidate in last_two(best):
            found(candidate, LAST)
        return found

    def __call__(self, candidate: SearchCandidate, budget: float) -> Trial:
        """Counts it, once."""
        key = candidate.label, budget
        if key not in self._trials:
            shorter = [budget for label, budget in self._trials if label == candidate.label]
            self.units += budget - max(shorter, default=0.0) * self.reused(candidate)
            self.runs += 1
            self._trials[key] = Trial(candidate, budget, -float(self.runs), 0, 0, 0.0, 0.0, budget)
        return self._trials[key]
