"""From a configuration to a comparison: search, train, measure, write down. Run again, it goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bothways.arguments import checked
from bothways.claims import claimed
from bothways.config import dump, settled
from bothways.corpus import Shards
from bothways.errors import DataError, DivergedError, ModelError, UsageError
from bothways.evaluation.comparison.baselines import baselines
from bothways.evaluation.comparison.config import CONFIG, CompareConfig, read_kept
from bothways.evaluation.comparison.contamination import contamination
from bothways.evaluation.comparison.eval_data import EvalData
from bothways.evaluation.comparison.measure import measure_all
from bothways.evaluation.comparison.page import render
from bothways.evaluation.comparison.results import VERSION, Comparison, compared_metrics, cost
from bothways.evaluation.comparison.search import RateSearch, search, trial_label
from bothways.evaluation.comparison.workers import Workers
from bothways.files import write_text
from bothways.machine import device_of
from bothways.objectives import Objective
from bothways.seals import sealed, sealed_yaml, unsealed
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.artifacts import count_baselines
from bothways.training.pretraining.setup import objective_of
from bothways.training.record import Record
from bothways.training.run_folder import RunFolder

T = TypeVar("T")
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
        plan: called with (label, size: 1.0 is the budget) of every run to come, before any begins; of a search that
            goes beyond its factors, when it does.
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
    open_folder(config, shards)
    searches, runs = train_all(config, shards, objectives, workers, say)
    scores = measure_all(config, eval_data, runs, workers, say)
    written = {name: [Record.read(runs[name, seed].path) for seed in range(config.seeds)] for name in config.objectives}
    place, first = config.out / "scores" / eval_data.key, config.run(config.objectives[0], 0, 1.0)
    look = partial(_look_for_items, eval_data, shards, say)
    measured = partial(baselines, first, shards, eval_data, config.out / ".untrained", device=workers.device)
    untrained = _once(place / "baselines.json", dict, measured)
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
            "contamination": _once(place / "contamination.json", list, look),
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
    counted = _once(config.out / "baselines.json", dict, lambda: count_baselines(shards, first.training))
    jobs = [(expression, seed) for seed in range(config.seeds) for expression in config.objectives]
    for expression in config.objectives if len(config.search.factors) > 1 else ():
        for factor in config.search.factors:
            workers.plan(trial_label(expression, factor), config.search.share)
    for job in jobs:
        workers.plan(run_label(*job), 1.0)

    def find(expression: str) -> RateSearch:
        found = search(config, workers, expression, objectives[expression])
        if found.trials:
            say(f"{expression}: learning rate x {found.factor:g}, after {len(found.trials)} trials")
        return found

    searches = dict(zip(config.objectives, workers.each(find, config.objectives), strict=True))

    def run(job: tuple[str, int]) -> RunFolder:
        expression, seed = job
        chosen = config.run(expression, seed, searches[expression].factor)
        _prime(chosen, counted)
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


def open_folder(config: CompareConfig, shards: Shards) -> None:
    """Makes the comparison's folder, or goes on in it.

    Raises:
        UsageError: it holds another comparison; what differs is named.
        DataError: it holds a comparison on another text.
    """
    place = config.out / CONFIG
    if place.exists():
        old = read_kept(place).model_dump(mode="json", exclude=MAY_CHANGE)
        new = config.model_dump(mode="json", exclude=MAY_CHANGE)
        for key in new:
            if old[key] != new[key]:
                raise UsageError(
                    f"{config.out} holds a comparison with {key} {old[key]!r}, now it is {new[key]!r}: runs of both "
                    "cannot be compared. Leave it as it was, or choose another --out."
                )
    write_text(place, sealed_yaml(dump(config)))
    if _once(config.out / "text.json", str, lambda: shards.fingerprint) != shards.fingerprint:
        raise DataError(
            f"{config.out} holds a comparison on another text than {config.shards}. Name its shards, or another --out."
        )


def _prime(config: PretrainConfig, baselines: dict[str, Any]) -> None:
    """The baselines are the same for every run: counted once."""
    folder = RunFolder(config.out)
    if not folder.manifest():
        folder.note(baselines=baselines)


def _once(place: Path, kind: type[T], make: Callable[[], T]) -> T:
    """What the file holds, or what `make` gives, kept in it."""
    if not place.exists():
        write_text(place, sealed({"kept": make()}) + "\n")
    found = unsealed(place).get("kept")
    if not isinstance(found, kind):
        raise ModelError(f"{place} holds something else than a comparison keeps there: begin again with another --out")
    return found
