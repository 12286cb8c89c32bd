"""Each objective at its own learning rate: a few short runs, the better half longer; the best held-out loss wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bothways.corpus import Rows, Shards
from bothways.evaluation.comparison.config import CompareConfig
from bothways.objectives import Objective
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.halving import Trial, successive_halving
from bothways.training.search.plan import one_further
from bothways.training.search.trials import Trials, steady
from bothways.training.workers import Workers


@dataclass(frozen=True, slots=True)
class RateSearch:
    """What was tried, in order, and the factor of the least loss of those that were trained longest."""

    factor: float
    trials: tuple[Trial, ...]

    @property
    def at_an_end(self) -> bool:
        """The best is the smallest or the largest that was tried: there may be a better one beyond."""
        factors = [trial.candidate.rate for trial in self.trials]
        return bool(factors) and self.factor in (min(factors), max(factors))


def search(
    config: CompareConfig,
    shards: Shards,
    workers: Workers,
    expression: str,
    objective: Objective,
    baselines: Mapping[str, Any],
) -> RateSearch:
    """Tries every factor, then beyond an end of them for as long as that end is the best (`RatesConfig`).

    A single factor is taken as it is.
    """
    candidates = [SearchCandidate(rate=factor) for factor in sorted(config.search.factors)]
    if len(candidates) == 1:
        return RateSearch(candidates[0].rate, ())
    training = config.run(expression, 0, 1.0).training
    rows = Rows(shards.train, shards.vocabulary, length=training.length, seed=training.seed)
    trials = Trials(
        config.trials(expression) / "trials.json",
        workers,
        objective,
        partial(config.trial, expression),
        partial(trial_label, expression),
        steady=steady(objective, rows, expression),
        baselines=baselines,
    )
    beyond = partial(one_further, config.search.at_most)
    rungs = successive_halving(candidates, budgets(config), trials, beyond=beyond, dropped=trials.drop)
    best = rungs[-1][0]
    trials.drop(best)
    return RateSearch(best.candidate.rate, tuple(trial for rung in rungs for trial in rung))


def budgets(config: CompareConfig) -> tuple[float, float]:
    """Shares of a run's budget: of all factors, and of the better half."""
    return config.search.share / 2, config.search.share


def trial_label(expression: str, candidate: SearchCandidate, share: float) -> str:
    """What a trial is called where people read."""
    return f"{expression}, rate x {candidate.rate:g}, {share:.0%} of the budget"
