"""Measures finished runs, each once: what came out item by item is kept beside the comparison."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bothways.config import load_config, read
from bothways.corpus import Shards
from bothways.evaluation.comparison.config import CONFIG, CompareConfig
from bothways.evaluation.comparison.eval_data import Labelled, Pairs, read_probe
from bothways.evaluation.comparison.finetuned_metric import TaskFiles, finetuned_items, finetuned_metric, untrained_run
from bothways.evaluation.comparison.metrics import (
    Metric,
    ScoredItems,
    body_features,
    held_out,
    minimal_pairs,
    probe_metric,
    word_features,
)
from bothways.evaluation.comparison.workers import Workers
from bothways.evaluation.linear_probe import linear_probe
from bothways.files import sha256
from bothways.inference import load
from bothways.inference.embed import reading
from bothways.inference.engine import Engine
from bothways.inference.language_model import LanguageModel
from bothways.model import Abilities, Model
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.batches import validation_rows
from bothways.training.pretraining.setup import objective_of
from bothways.training.run_folder import RunFolder
from bothways.visibility import ordered

VERSION = 3  # answers of another one are computed anew
Answers = dict[Metric, ScoredItems]


@dataclass(frozen=True, slots=True)
class EvalData:
    """All evaluation data, read once: {name of a probe: its two sides}."""

    pairs: Pairs | None
    probes: dict[str, tuple[Labelled, Labelled]]
    tasks: dict[str, TaskFiles]
    rows: int
    key: str  # changes with the data

    @classmethod
    def read(cls, config: CompareConfig) -> EvalData:
        """
        Raises:
            DataError: a file that cannot be read or used.
        """
        pairs = Pairs.read(config.pairs, each=config.pairs_each) if config.pairs else None
        probes = {name: read_probe(name, *files) for name, files in config.probes.items()}
        parts = [VERSION, config.validation_rows, config.pairs_each, [sha256(file) for file in config.pairs]]
        parts += [[name, *map(sha256, files)] for name, files in config.probes.items()]
        parts += [[name, files.task, sha256(files.train), sha256(files.test)] for name, files in config.tasks.items()]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        return cls(pairs, probes, config.tasks, config.validation_rows, key)


def measure_all(
    config: CompareConfig,
    eval_data: EvalData,
    runs: dict[tuple[str, int], RunFolder],
    workers: Workers,
    say: Callable[[str], None],
) -> dict[tuple[str, int], Answers]:
    """{(expression, seed): its answers}; those already given to the same data are read."""

    def measured(run: tuple[str, int]) -> Answers:
        place = runs[run].path / "answers" / f"{eval_data.key}.npz"  # goes with the run, when that is deleted
        if not place.exists():
            label = f"{run[0]}, seed {run[1]}: measured"
            arguments = [str(runs[run].path), str(config.out / CONFIG), str(place)]
            workers.run("bothways.evaluation.comparison.measure", arguments, label)
            say(label)
        return _read(place)

    return dict(zip(runs, workers.each(measured, list(runs)), strict=True))


def main(run: str, comparison: str, place: str) -> None:
    """In a process of its own: measures one run as a comparison's config.yaml has it."""
    comparing, config = read(CompareConfig, load_config(Path(comparison))), RunFolder(Path(run)).config(PretrainConfig)
    eval_data, shards = EvalData.read(comparing), Shards.open(comparing.shards)
    objective, _ = objective_of(config.model_copy(update={"code": comparing.code}), shards)
    rows = validation_rows(shards, config.training.model_copy(update={"validation_rows": eval_data.rows}))
    loaded = load(run)
    found: Answers = dict(held_out(loaded, objective, shards, rows))
    if eval_data.pairs is not None:
        found |= dict(minimal_pairs(loaded, eval_data.pairs))
    found |= dict(probe_answers(loaded, eval_data))
    engine = loaded.engine
    if (
        engine.abilities.faces and engine.model.rule is ordered
    ):  # else there is no body that transformers' classes have a head for
        for name, files in eval_data.tasks.items():
            found[finetuned_metric(name, files)] = finetuned_items(Path(run), files, seed=config.training.seed)
    _write(Path(place), found)


def probe_answers(loaded: LanguageModel, eval_data: EvalData) -> Iterator[tuple[Metric, ScoredItems]]:
    """Of every labelled file; of none, if the body was taught no way of reading a plain text."""
    if reading(loaded.engine.abilities) is None:
        return
    for name, (train, test) in eval_data.probes.items():
        features = body_features(loaded, train), body_features(loaded, test)
        right = linear_probe(features, (train.labels, test.labels), strengths=(0.001, 0.01, 0.1, 1.0))
        yield probe_metric(name), ScoredItems.right(right)


def probe_baselines(config: PretrainConfig, eval_data: EvalData) -> dict[str, dict[str, float]]:
    """Of every labelled file: always the commonest class; tokens counted, without a body; and the body with the weights
    that training starts from."""
    if not eval_data.probes:
        return {}
    shards = Shards.open(config.shards)
    model = Model(config.model_config_for(shards.vocabulary.size), seed=config.training.seed)
    loaded = LanguageModel(Engine(model.eval(), shards.tokenizer, Abilities("untrained", ("encoder",), None)))
    found = {}
    for (metric, untrained), (name, sides) in zip(
        probe_answers(loaded, eval_data), eval_data.probes.items(), strict=True
    ):
        assert metric == probe_metric(name)
        commonest, _ = Counter(sides[0].labels).most_common(1)[0]
        found[name] = {
            "commonest class": sides[1].labels.count(commonest) / len(sides[1].labels),
            "untrained body": untrained.figure,
            "TF-IDF, no body": word_features(sides, shards).figure,
        }
    return found


def task_baselines(config: PretrainConfig, eval_data: EvalData, place: Path) -> dict[str, dict[str, float]]:
    """The body with the weights that training starts from, fine-tuned alike; it is written to `place`, and removed."""
    if not eval_data.tasks:
        return {}
    run, seed = untrained_run(config, place), config.training.seed
    found = {
        name: {"untrained body": finetuned_items(run, files, seed=seed).figure}
        for name, files in eval_data.tasks.items()
    }
    shutil.rmtree(place)
    return found


def _write(place: Path, found: Answers) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_suffix(".partial")
    columns: dict[str, Any] = {}
    for number, (metric, items) in enumerate(found.items()):
        columns |= {f"{number}.value": items.value, f"{number}.weight": items.weight}
        columns[f"{number}.about"] = np.array(astuple(metric))
        columns[f"{number}.facts"] = np.array([items.bound, items.ties])
    with open(aside, "wb") as file:
        np.savez_compressed(file, **columns)
    aside.replace(place)


def _read(place: Path) -> Answers:
    found: Answers = {}
    with np.load(place) as columns:
        for number in range(len(columns.files) // 4):
            get = partial(_column, columns, number)
            bound, ties = get("facts").tolist()
            found[Metric(*get("about").tolist())] = ScoredItems(get("value"), get("weight"), bool(bound), ties)
    return found


def _column(columns: Mapping[str, np.ndarray], number: int, name: str) -> np.ndarray:
    return columns[f"{number}.{name}"]


if __name__ == "__main__":
    main(*sys.argv[1:])
