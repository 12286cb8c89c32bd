"""From hours to a recipe: short trials that are halved and gone on with, and the best of them once more, long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from bothways.arguments import checked
from bothways.claims import claimed
from bothways.config import settled
from bothways.corpus import Rows, Shards
from bothways.errors import BothwaysError, DivergedError, Stopped
from bothways.files import write_text
from bothways.machine import device_of
from bothways.training.going_on import go_on_in, once
from bothways.training.pretraining.artifacts import count_baselines
from bothways.training.pretraining.setup import named_objective, objective_of
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.config import SearchConfig
from bothways.training.search.halving import Trial
from bothways.training.search.plan import RUNGS, last_two, walk
from bothways.training.search.recipe import recipe_file, settings_of
from bothways.training.search.time_plan import Hours, OutOfTimeError, TimePlan, plan_time
from bothways.training.search.trials import Trials, steady
from bothways.training.workers import Workers

MAY_CHANGE = {"shards", "out", "code"}
RECIPE = "recipe.py"
LOWER_RATES = "--set 'space=[{rate: [0.1, 0.2, 0.4]}]'"


class SearchResult(dict[str, Any]):
    """What `search` gives, as plain values.

    best    label, settings of a recipe, loss (held out, nats), seconds, steps, and the folder of its run
    trials  all of them, in order: label, seconds of its budget, loss (None: diverged), steps, began (the step that it
            went on from)
    hours   given, and taken
    recipe  the file
    """

    def __repr__(self) -> str:
        best, taken = self["best"], self["hours"]["taken"]
        return (
            f"SearchResult({best['label']}: {best['loss']:.3f} nats after {best['seconds']:.0f} s; "
            f"{len(self['trials'])} trials in {taken:.2f} hours)"
        )


@settled(SearchConfig)
@checked
def search(
    config: SearchConfig,
    *,
    device: str | None = None,
    show: Callable[[str, float], None] = lambda label, progress: None,
    say: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Finds optimiser, learning rate, batch and schedule for a text, a machine and hours, and writes them as recipe.py.

    The settings are a record or its fields: search("shards", objective="mlm", hours=2). In a folder where it was begun
    it goes on, and the hours that it had count. Every trial is a run like any other, the best of them with its model.

    Args:
        device: where every run computes, "cpu", "cuda" or "cuda:1"; left out, on a GPU when there is one.
        show: called with (a trial, its progress from 0 to 1) now and then.
        say: called with every step that is done.
        clock: gives seconds.

    Raises:
        BothwaysError: whatever a user can cause; before anything is trained, where it can be known.
        DivergedError: every trial diverged.
        Stopped: SIGTERM or Ctrl-C came; every run has saved.
    """
    started = clock()
    device_of(device)
    config.check()
    with claimed(config.out):
        say("reading the text, doing a few steps")
        workers = Workers(1, show, device=device, processes=config.processes)
        trials, time_plan = _prepared(config, workers, clock)
        hours = Hours(config.hours, trials, time_plan, started, clock, say)
        try:
            workers.each(lambda _: _search(config, hours, say), [None])
        except BothwaysError as error:
            if not isinstance(error, Stopped) and hours.trials.finite:
                say(f"one trial failed; what is best so far: {_written(config, hours)['recipe']}")
            raise
        return _written(config, hours)


def _prepared(config: SearchConfig, workers: Workers, clock: Callable[[], float]) -> tuple[Trials, TimePlan]:
    """
    Raises:
        BothwaysError: the runs cannot be, or the hours are too few for them.
    """
    shards = Shards.open(config.shards)
    size = shards.vocabulary.size
    encoder_decoder = named_objective(config.run(SearchCandidate(), 1.0, warmup=1), shards).encoder_decoder
    configured = partial(config.run, vocabulary=size, encoder_decoder=encoder_decoder)
    plain = configured(SearchCandidate(), 1.0, warmup=1)
    objective, training = objective_of(plain, shards)[0], plain.training
    shapes = {str(config.run(one, 1.0, warmup=1).model): one for one in config.candidates()}
    for one in shapes.values():  # before any is trained
        objective_of(configured(one, 1.0, warmup=1), shards)
    rows = Rows(shards.train, shards.vocabulary, length=training.length, seed=training.seed)
    same = steady(objective, rows, config.objective)
    place, new = config.out / "hours.json", dict[str, Any]()
    if not place.exists():  # too few hours are refused before they are written down
        new = plan_time(config, workers.device, same, clock).plain()
    go_on_in(config.out, config, shards, kind="search", may_change=MAY_CHANGE)
    time_plan = TimePlan.read(once(place, dict, lambda: new))
    trials = Trials(
        config.out / "search.json",
        workers,
        objective,
        partial(configured, warmup=time_plan.warmup),
        named,
        steady=same,
        baselines=once(config.out / "baselines.json", dict, lambda: count_baselines(shards, training)),
    )
    return trials, time_plan


def named(candidate: SearchCandidate, seconds: float) -> str:
    """What a trial is called where people read."""
    return f"{candidate.label}, {timedelta(seconds=round(seconds))}"


def _search(config: SearchConfig, hours: Hours, say: Callable[[str], None]) -> None:
    trials, unit = hours.trials, hours.time_plan.unit
    try:
        best = walk(config.stages(), config.default(), unit, hours, trials.drop)
        longest = hours.longest(last_two(best))
        if longest <= RUNGS[-1] * unit:
            return say("the machine was slower than it was at first: no time is left for a longer run of the best")
        for candidate in last_two(best):
            hours(candidate, longest)
    except OutOfTimeError as error:
        say(f"the hours are over before {error}")
    return None


def _written(config: SearchConfig, hours: Hours) -> SearchResult:
    """search.json with what is best, and the recipe.

    Raises:
        DivergedError: every trial diverged.
    """
    trials = hours.trials
    if not trials.finite:
        raise DivergedError(f"{config.out}: every trial diverged. Search in another --out, {LOWER_RATES}")
    best = min(trials.finite, key=lambda trial: (-trial.budget, trial.loss))
    run = trials.configured(best.candidate, best.budget)
    labels = {trial.candidate.label for trial in trials.kept}
    write_text(config.out / RECIPE, recipe_file(config, best, run, len(labels) - 1))
    result = SearchResult(
        {
            "best": {
                **_plain(best),
                "settings": settings_of(config, best, run),
                "folder": str(trials.folder(best.candidate, best.budget)),
            },
            "trials": [_plain(trial) for trial in trials.kept],
            "hours": {"given": config.hours, "taken": hours.spent / 3600},
            "recipe": str(config.out / RECIPE),
        }
    )
    trials.note(best=result["best"])
    return result


def _plain(trial: Trial) -> dict[str, Any]:
    loss = trial.loss if math.isfinite(trial.loss) else None
    named = {"label": trial.candidate.label, "seconds": trial.budget}
    return {**named, "loss": loss, "steps": trial.steps, "began": trial.began}
