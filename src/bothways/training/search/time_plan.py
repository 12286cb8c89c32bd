"""The hours of a search: what a unit of them is, and what is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bothways.errors import ModelError, UsageError
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.dry_run import STEPS, estimate_run
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.config import SearchConfig
from bothways.training.search.halving import Trial
from bothways.training.search.plan import WorstCase
from bothways.training.search.trials import Trials, reused

HOUR = 3600.0
SAFE = 0.95  # of the hours is dealt out: a machine that others use, too, is not always as fast
LEAST_STEPS = 60  # of the shortest trial: the first 20 say how many it has, and are over before its rate falls
WARMUP = 0.2  # of the shortest trial, at most
VOCABULARY = 8  # whatever the text's: the body counts
AROUND = 3.0  # a run also starts Python, saves its model and writes a report: times what is around a rehearsal's steps


class OutOfTimeError(Exception):
    """A trial would end after the hours."""


@dataclass(frozen=True, slots=True)
class TimePlan:
    """How the hours are dealt out.

    unit    seconds of training of the shortest trials
    around  seconds that a run takes beside its training, as far as a rehearsal shows
    warmup  steps, at most
    """

    unit: float
    around: float
    warmup: int

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> TimePlan:
        """
        Raises:
            ModelError: it is none.
        """
        try:
            return cls(float(kept["unit"]), float(kept["around"]), int(kept["warmup"]))
        except (KeyError, TypeError, ValueError):
            raise ModelError("hours.json is no record of a search: begin again with another --out") from None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def plan_time(config: SearchConfig, device: str | None, steady: bool, clock: Callable[[], float]) -> TimePlan:
    """From a few steps, which are timed, and the worst case of the search.

    Raises:
        UsageError: the hours are too few; the least are named.
        BothwaysError: whatever would stop the run at its start.
    """
    began = clock()
    default = config.run(SearchCandidate(), 1.0, warmup=1)
    told = estimate_run(default, device=device, share=config.processes)
    took, pace = clock() - began, told.seconds / told.steps
    around = max(0.0, took - STEPS * pace) * AROUND

    def share(candidate: SearchCandidate) -> float:
        return reused(config.run(candidate, 1.0, warmup=1).training) if steady else 0.0

    worst = WorstCase.of(config.stages(), config.default(), share)
    slowest = pace * max(_work(config.run(one, 1.0, warmup=1)) for one in config.candidates()) / _work(default)
    least = (took + worst.runs * around + worst.units * LEAST_STEPS * slowest) / SAFE / HOUR
    if config.hours < least:
        raise UsageError(
            f"{config.hours:g} hours are too few: {worst.runs} trials, the shortest of {LEAST_STEPS} steps, would "
            f"take up to {least:.2g} hours on this machine, at {pace:.2g} s a step and {around:.0f} s to begin and end "
            f"a run. Give --hours {rounded_up(least):g}, a smaller --size, or fewer values to try: "
            "--set 'space=[{rate: [0.5, 1]}]'"
        )
    unit = (config.hours * HOUR * SAFE - took - worst.runs * around) / worst.units
    return TimePlan(unit, around, max(1, int(WARMUP * unit / slowest)))


def _work(run: PretrainConfig) -> int:
    """What a step takes, as far as shapes and tokens say."""
    return run.training.places * run.model_config_for(VOCABULARY).body_parameters


def rounded_up(hours: float) -> float:
    """To two figures."""
    text = f"{hours:.1e}"
    return float(text) if float(text) >= hours else float(text) + 10 ** (int(text.partition("e")[2]) - 1)


class Hours:
    """Trials as long as there is time for them; what was taken is kept with them, for a search that goes on."""

    def __init__(
        self,
        hours: float,
        trials: Trials,
        time_plan: TimePlan,
        started: float,
        clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self.limit, self.trials, self.time_plan = hours * HOUR, trials, time_plan
        self.spent = float(trials.notes.get("spent", 0.0))
        self._mark, self._clock, self._say = started, clock, say
        self._around: list[float] = []  # of the runs that were timed
        self._keep()

    def __call__(self, candidate: SearchCandidate, budget: float) -> Trial:
        """The trial.

        Raises:
            OutOfTimeError: it would end after the hours.
        """
        cost, name = self.trials.cost(candidate, budget), self.trials.named(candidate, budget)
        if not cost:
            return self.trials(candidate, budget)
        before, done = self.spent, self.trials.begun(candidate, budget)
        if cost - done + self.around > self.limit - self.spent:
            raise OutOfTimeError(name)
        try:
            trial = self.trials(candidate, budget)
        finally:
            self._keep()
        self._around.append(self.spent - before - (trial.seconds - done))
        went_on = f", {trial.began:,} of them before" if trial.began else ""
        loss = f"{trial.loss:.3f} nats" if math.isfinite(trial.loss) else "diverged"
        self._say(f"{name}: {loss}, {trial.steps:,} steps{went_on}; {self.spent / self.limit:.0%} of the hours")
        return trial

    @property
    def around(self) -> float:
        """Seconds that a run takes beside its training: the most that was seen, or what a rehearsal showed."""
        return max(self._around, default=self.time_plan.around)

    def longest(self, candidates: Sequence[SearchCandidate]) -> float:
        """Seconds of training that each may have, alike, in what is left."""
        done = [self.trials.before(candidate, self.limit) for candidate in candidates]
        reused = sum(one.budget * self.trials.reused(one.candidate) for one in done if one)
        found = (SAFE * (self.limit - self.spent) - len(candidates) * self.around + reused) / len(candidates)
        last = float(self.trials.notes.get("last", found))
        self.trials.note(last=last)
        return last

    def _keep(self) -> None:
        now = self._clock()
        self.spent, self._mark = self.spent + now - self._mark, now
        self.trials.note(spent=self.spent)
