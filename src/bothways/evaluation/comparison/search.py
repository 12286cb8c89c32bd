"""Each objective at its own learning rate: a few short runs, the best held-out loss of what is kept wins."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bothways.evaluation.comparison.config import CompareConfig
from bothways.evaluation.comparison.workers import Workers
from bothways.objectives import Objective
from bothways.training.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Trial:
    """One short run: the factor on the default learning rate, the held-out loss (inf: it diverged), the cost."""

    factor: float
    loss: float
    flops: float
    seconds: float


@dataclass(frozen=True, slots=True)
class RateSearch:
    """What was tried, and the factor of the least loss."""

    factor: float
    trials: tuple[Trial, ...]

    @property
    def at_an_end(self) -> bool:
        """The best is the smallest or the largest that was tried: there may be a better one beyond."""
        factors = [trial.factor for trial in self.trials]
        return bool(factors) and self.factor in (min(factors), max(factors))


def search(config: CompareConfig, workers: Workers, expression: str, objective: Objective) -> RateSearch:
    """Tries every factor, then beyond an end of them for as long as that end is the best (`SearchConfig`).

    A single factor is taken as it is.
    """
    factors = sorted(config.search.factors)
    if len(factors) == 1:
        return RateSearch(factors[0], ())

    def tried(factor: float) -> Trial:
        workers.plan(trial_label(expression, factor), config.search.share)
        folder = workers.train(config.trial(expression, factor), trial_label(expression, factor))
        shutil.rmtree(folder.checkpoints, ignore_errors=True)  # its losses are all that is wanted of it
        last = folder.last()
        return Trial(factor, held_out_loss(folder, objective), last["flops"], last["seconds"])

    return _widened(factors, tried, at_most=config.search.at_most)


def trial_label(expression: str, factor: float) -> str:
    """What a trial is called where people read."""
    return f"{expression}, rate x {factor:g}"


def _widened(factors: Sequence[float], tried: Callable[[float], Trial], *, at_most: int) -> RateSearch:
    """`factors` ascending; beyond an end, the next is as far as the last two are apart."""
    trials = [tried(factor) for factor in factors]
    while True:
        trials.sort(key=lambda trial: trial.factor)
        best = min(trials, key=lambda trial: trial.loss)
        if len(trials) >= at_most or best not in (trials[0], trials[-1]) or not math.isfinite(best.loss):
            return RateSearch(best.factor, tuple(trials))
        inner = trials[1] if best is trials[0] else trials[-2]
        trials.append(tried(best.factor**2 / inner.factor))


def held_out_loss(folder: RunFolder, objective: Objective) -> float:
    """The last held-out loss of a run, as the run itself weighs it; inf if it diverged.

    The losses of an objective's `parts` do not count: ELECTRA's generator learns fastest at a rate that keeps the
    discriminator, which is the model, from learning at all.
    """
    if folder.manifest().get("status") != "done":
        return math.inf
    line = folder.last("validation")
    kept = [loss for name, loss in line["losses"].items() if name not in objective.parts]
    if len(kept) == len(line["losses"]):
        kept = [line["loss"]]
    return math.inf if None in kept else math.fsum(kept) / len(kept)
