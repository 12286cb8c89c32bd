"""Successive halving (Jamieson & Talwalkar 2016, algorithm 1): many short trials, the better half of them longer.

budget 1   a b c d e f      sorted by loss: c a e b f d
budget 2   c a e            the better half goes on; what they have learned is not learned again
budget 4   a c
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bothways.training.search.candidates import SearchCandidate


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate trained with a budget.

    budget   seconds, or a share of another budget: one unit in all trials that are compared
    loss     on held-out text, at the end; inf: it diverged
    steps    of the run, from its first
    began    the step that it went on from; 0: it began anew
    flops, seconds   what the steps since then took
    took     of the budget's unit, what the whole run really took: more, where the machine became slower
    """

    candidate: SearchCandidate
    budget: float
    loss: float
    steps: int
    began: int
    flops: float
    seconds: float
    took: float

    def over(self, budget: float) -> bool:
        """Whether the run has taken so much already that another budget gives it no further step."""
        return round(self.steps * budget / self.took) <= self.steps


def successive_halving(
    candidates: Sequence[SearchCandidate],
    budgets: Sequence[float],
    tried: Callable[[SearchCandidate, float], Trial],
    *,
    beyond: Callable[[Sequence[Trial]], SearchCandidate | None] = lambda trials: None,
    dropped: Callable[[Trial], object] = lambda trial: None,
) -> list[list[Trial]]:
    """The trials of every budget, ascending, the best of each first. What diverged goes no further.

    Args:
        beyond: names one more candidate by the trials of the first budget, again and again until it names none.
        dropped: called with every trial that does not go on.
    """
    rungs: list[list[Trial]] = []
    for budget in budgets:
        trials = [tried(candidate, budget) for candidate in candidates]
        while not rungs and (one := beyond(trials)) is not None:
            trials.append(tried(one, budget))
        trials.sort(key=lambda trial: trial.loss)
        rungs.append(trials)
        finite = [trial.candidate for trial in trials if math.isfinite(trial.loss)]
        candidates = finite[: math.ceil(len(trials) / 2)]
        for trial in trials:
            if trial.candidate not in candidates:
                dropped(trial)
        if not candidates:
            break
    return rungs
