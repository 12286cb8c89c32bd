"""From a configuration to a comparison: search, train, measure, write down. Run again, it goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from bothways.arguments import checked
from bothways.claims import claimed
from bothways.config import settled
from bothways.corpus import Shards
from bothways.errors import DivergedError
from bothways.evaluation.comparison.baselines import baselines
from bothways.evaluation.comparison.config import CompareConfig
from bothways.evaluation.comparison.contamination import contamination
from bothways.evaluation.comparison.eval_data import EvalData
from bothways.evaluation.comparison.measure import measure_all
from bothways.evaluation.comparison.page import render
from bothways.evaluation.comparison.results import VERSION, Comparison, compared_metrics, cost
from bothways.evaluation.comparison.search import RateSearch, budgets, search, trial_label
from bothways.files import write_text
from bothways.machine import device_of
from bothways.objectives import Objective
from bothways.training.going_on import go_on_in, once
from bothways.training.pretraining.artifacts import count_baselines
from bothways.training.pretraining.setup import objective_of
from bothways.training.record import Record
from bothways.training.run_folder import RunFolder
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.trials import prime
from bothways.training.workers import Workers

MAY_CHANGE = {
    "shards",
    "out",
    "objectives",
    "seeds",
    "code",
    "at_once",
    "pairs",
    "pairs_each",
    "probes",
    "tasks",
    "validation_rows",
}


@settled(CompareConfig)
@checked
def compare(
    config: CompareConfig,
    *,
    device: str | None = None,
    show: Callable[[str, float], None] = lambda label, progress: None,
    plan: Callable[[str, float], None] = lambda label, size: None,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Trains every objective, measures all models alike, writes comparison.json and comparison.html; returns the JSON.

    The settings are a record or its fields: compare("shards", out="runs/cmp", objectives=["causal", "mlm"]). In a
    folder where it was begun, it goes on: what is trained and measured already is not done again.

    Args:
        device: where every run computes, "cpu", "cuda" or "cuda:1"; left out, on a GPU when there is one.
        show: called with (label of a run, its progress from 0 to 1) now and then, and 1.0 when it has ended.
        plan: called with (label, size: 1.0 is the budget) of every run to come, before any begins; of what a search
            goes on with, when it does.
        say: called with every step that is done.

    Raises:
        BothwaysError: whatever a user can cause; before anything is trained, where it can be known.
        Stopped: SIGTERM or Ctrl-C came; every run has saved.
    """
    say("reading the text and the evaluation data")
    device_of(device)
    config.check()
    with claimed(config.out):
        return _compare(config, Workers(config.at_once, show, plan, device=device), say)


def _compare(config: CompareConfig, workers: Workers, say: Callable[[str], None]) -> Comparison:
    shards = Shards.open(config.shards)
    # Read, and so checked, before anything is trained.
    objectives = {name: objective_of(config.run(name, 0, 1.0), shards)[0] for name in config.objectives}
    eval_data = EvalData.read(config)
    go_on_in(config.out, config, shards, kind="comparison", may_change=MAY_CHANGE)
    searches, runs = train_all(config, shards, objectives, workers, say)
    scores = measure_all(config, eval_data, runs, workers, say)
    written = {name: [Record.read(runs[name, seed].path) for seed in range(config.seeds)] for name in config.objectives}
    place, first = config.out / "scores" / eval_data.key, config.run(config.objectives[0], 0, 1.0)
    look = partial(_look_for_items, eval_data, shards, say)
    measured = partial(baselines, first, shards, eval_data, config.out / ".untrained", device=workers.device)
    untrained = once(place / "baselines.json", dict, measured)
    result = Comparison(
        {
            "version": VERSION,
            "budget": config.budget.model_dump(exclude_none=True),
            "size": config.size,
            "seeds": config.seeds,
            "shards": shards.fingerprint,
            "search": config.search.model_dump(),
            "objectives": [
                {"objective": name, **cost(config, searches[name], [runs[name, seed] for seed in range(config.seeds)])}
                for name in config.objectives
            ],
            "metrics": list(compared_metrics(config, scores, untrained)),
            "contamination": once(place / "contamination.json", list, look),
            "samples": {name: records[0].manifest.get("samples", {}) for name, records in written.items()},
        }
    )
    write_text(config.out / "comparison.json", json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    write_text(config.out / "comparison.html", render(result, written))
    return result


def _look_for_items(eval_data: EvalData, shards: Shards, say: Callable[[str], None]) -> list[dict[str, Any]]:
    say("looking for evaluation items in the training text")
    return contamination(eval_data, shards)


def train_all(
    config: CompareConfig,
    shards: Shards,
    objectives: dict[str, Objective],
    workers: Workers,
    say: Callable[[str], None],
) -> tuple[dict[str, RateSearch], dict[tuple[str, int], RunFolder]]:
    """{expression: its search}, {(expression, seed): its run}; the seeds one after another, so that a comparison that
    is stopped half-way has all objectives.

    Raises:
        DivergedError: a run that counts diverged.
    """
    first = config.run(config.objectives[0], 0, 1.0)
    say("counting n-grams, to compare with")
    counted = once(config.out / "baselines.json", dict, lambda: count_baselines(shards, first.training))
    jobs = [(expression, seed) for seed in range(config.seeds) for expression in config.objectives]
    for expression in config.objectives if len(config.search.factors) > 1 else ():
        for factor in config.search.factors:
            share, _ = budgets(config)
            workers.plan(trial_label(expression, SearchCandidate(rate=factor), share), share)
    for job in jobs:
        workers.plan(run_label(*job), 1.0)

    def find(expression: str) -> RateSearch:
        found = search(config, shards, workers, expression, objectives[expression], counted)
        if found.trials:
            say(f"{expression}: learning rate x {found.factor:g}, after {len(found.trials)} trials")
        return found

    searches = dict(zip(config.objectives, workers.each(find, config.objectives), strict=True))

    def run(job: tuple[str, int]) -> RunFolder:
        expression, seed = job
        chosen = config.run(expression, seed, searches[expression].factor)
        prime(RunFolder(chosen.out), counted)
        folder = workers.train(chosen, run_label(expression, seed))
        if folder.noted("status") != "done":
            raise DivergedError(
                f"{expression}, seed {seed} diverged: {folder.path}. Compare in another --out with smaller factors on "
                "the learning rate, for example --set search.factors=[0.25,0.5,1]"
            )
        say(f"{run_label(expression, seed)}: done")
        return folder

    return searches, dict(zip(jobs, workers.each(run, jobs), strict=True))


def run_label(expression: str, seed: int) -> str:
    """What a run that counts is called where people read."""
    return f"{expression}, seed {seed}"
