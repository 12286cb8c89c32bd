"""Measures finished runs, each once: what came out item by item is kept beside the run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bothways.corpus import Shards
from bothways.evaluation.comparison.config import CompareConfig
from bothways.evaluation.comparison.eval_data import EvalData
from bothways.evaluation.comparison.finetuned_metric import finetuned_items, finetuned_metric
from bothways.evaluation.comparison.metrics import Metric, ScoredItems, held_out, minimal_pairs, probe_metric, probed
from bothways.inference import load
from bothways.inference.embed import reading
from bothways.seals import unsealed, write_sealed
from bothways.training.going_on import settings_in
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.batches import validation_rows
from bothways.training.pretraining.setup import objective_of
from bothways.training.run_folder import RunFolder
from bothways.training.workers import Workers
from bothways.visibility import ordered

Scores = dict[Metric, ScoredItems]


def measure_all(
    config: CompareConfig,
    eval_data: EvalData,
    runs: dict[tuple[str, int], RunFolder],
    workers: Workers,
    say: Callable[[str], None],
) -> dict[tuple[str, int], Scores]:
    """{(expression, seed): its scores}; those measured before on the same data are read."""

    def once(run: tuple[str, int]) -> Scores:
        place = runs[run].path / "scores" / f"{eval_data.key}.json"  # goes with the run, when that is deleted
        if not place.exists():
            label = f"{run[0]}, seed {run[1]}: measured"
            arguments = [
                str(runs[run].path),
                str(config.out),
                str(place),
                *([str(workers.device)] if workers.device else []),
            ]
            workers.run("bothways.evaluation.comparison.measure", arguments, label)
            say(label)
        return read_scores(place)

    return dict(zip(runs, workers.each(once, list(runs)), strict=True))


def main(run: str, comparison: str, place: str, device: str | None = None) -> None:
    """In a process of its own: measures one run as the comparison in a folder has it."""
    comparing = settings_in(Path(comparison), CompareConfig)
    eval_data, shards = EvalData.read(comparing), Shards.open(comparing.shards)
    write_scores(Path(place), measured(Path(run), eval_data, shards, code=comparing.code, device=device))


def measured(
    run: Path, eval_data: EvalData, shards: Shards, *, code: tuple[Path, ...] = (), device: str | None = None
) -> Scores:
    """By every metric that its objective taught; `code` and shards may have moved since.

    Raises:
        BothwaysError: the run or its objective cannot be read, or the evaluation data is not for them.
    """
    config = RunFolder(run).config(PretrainConfig)
    objective, _ = objective_of(config.model_copy(update={"code": code}), shards)
    rows = validation_rows(shards, config.training.model_copy(update={"validation_rows": eval_data.rows}))
    loaded = load(run, device=device)
    found: Scores = dict(held_out(loaded, objective, shards, rows))
    if eval_data.pairs is not None:
        found |= dict(minimal_pairs(loaded, eval_data.pairs))
    engine = loaded.engine
    if reading(engine.abilities) is not None:  # else the body was taught no way of reading a plain text
        found |= {probe_metric(name): probed(loaded, sides) for name, sides in eval_data.probes.items()}
    if engine.abilities.faces and engine.model.rule is ordered:  # else transformers' classes have no head for the body
        for name, files in eval_data.tasks.items():
            found[finetuned_metric(name, files)] = finetuned_items(run, files, seed=config.training.seed, device=device)
    return found


def write_scores(place: Path, found: Scores) -> None:
    """Keeps what a run got, item by item.

    Raises:
        MachineError: it cannot be written.
    """
    columns = [
        asdict(items) | {"value": items.value.tolist(), "weight": items.weight.tolist()} for items in found.values()
    ]
    write_sealed(place, {"scores": [*zip(map(asdict, found), columns, strict=True)]})


def read_scores(place: Path) -> Scores:
    """What `write_scores` kept.

    Raises:
        ModelError: the file is damaged.
    """
    return {
        Metric(**metric): ScoredItems(**items | {name: np.array(items[name]) for name in ("value", "weight")})
        for metric, items in unsealed(place)["scores"]
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
