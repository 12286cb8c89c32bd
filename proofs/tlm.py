"""A translation tells what is hidden: masked-word recall of tlm on pairs, and of mlm on the same text without pairs.

Sentences of words drawn at random, so that no word tells another of its own language, and their translation word by
word after a dictionary that the models have to find out. TLM must recall at least twice what MLM recalls, and lose it
when the other side is taken away.

python proofs/tlm.py [--steps 400] [--words 200] [--seeds 1]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import bothways
from bothways.batch import Batch, Row
from bothways.config import read
from bothways.corpus import PrepareOptions, Rows, Shards
from bothways.objectives import Objective, build
from bothways.objectives.corruptions import REPLACEMENTS, Mask
from bothways.objectives.pairs import BothSides
from bothways.training.evaluate import evaluate_words
from bothways.training.pretraining import PretrainConfig

WANTED = 2.0  # times the recall of MLM
SENTENCES = 8000


def words(count: int, letters: str, rng: random.Random) -> list[str]:
    """Different words of four to six letters."""
    found: set[str] = set()
    while len(found) < count:
        found.add("".join(rng.choices(letters, k=rng.randint(4, 6))))
    return sorted(found)


def write(place: Path, *, size: int, seed: int) -> None:
    """pairs.tsv, and both of its columns as texts."""
    rng = random.Random(seed)
    ours, theirs = words(size, "abdegiklmnoprstu", rng), words(size, "cfhjqvwxyzaeiouy", rng)
    rng.shuffle(theirs)
    often = [1 / (5 + rank) for rank in range(size)]  # some words are commoner than others
    sentences = [rng.choices(range(size), weights=often, k=rng.randint(5, 9)) for _ in range(SENTENCES)]
    columns = [[" ".join(names[number] for number in sentence) for sentence in sentences] for names in (ours, theirs)]
    (place / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in zip(*columns, strict=True)))
    for name, column in zip(("ours", "theirs"), columns, strict=True):
        (place / f"{name}.txt").write_text("\n".join(column))


def train(shards: Path, out: Path, *, objective: str, steps: int, seed: int) -> None:
    """A tiny model; the same steps, rows and tokenizer for both."""
    training = {"budget": {"steps": steps}, "length": 64, "step_tokens": 4096, "seed": seed}
    values = {"shards": shards, "out": out, "objective": objective, "training": training}
    bothways.pretrain(read(PretrainConfig, values))


def recall(run: Path, objective: Objective, rows: list[Row]) -> tuple[float, int]:
    """Share of the hidden places whose likeliest token is the right one, and how many there were."""
    samples = [objective.sample(row, np.random.default_rng((1, i)), 1.0) for i, row in enumerate(rows)]
    batches = [Batch.stack(samples[i : i + 32]) for i in range(0, len(samples), 32)]
    (score,) = evaluate_words(bothways.load(run).engine.model.eval(), batches).values()
    return score.accuracy, sum(len(sample.targets[0].at) for sample in samples)


def first_sides(row: Row, cls: int, sep: int) -> Row:
    """The row with all that stands on second sides made padding: the pairs without their translations."""
    documents = [np.flatnonzero(row.document == number) for number in range(row.document.max() + 1)]
    kept = np.concatenate([own[: np.flatnonzero(row.tokens[own] == sep)[0] + 1] for own in documents])
    missing = len(row) - len(kept)
    return Row(
        tokens=np.pad(row.tokens[kept], (0, missing)),
        document=np.concatenate([row.document[kept], -1 - np.arange(missing, dtype=np.int32)]),
        word_starts=np.ones(len(row), dtype=bool),
    )


def one(place: Path, *, steps: int, size: int, seed: int) -> dict[str, float]:
    """Recalls of one pair of runs."""
    write(place, size=size, seed=seed)
    options = PrepareOptions(vocabulary=4096, documents="lines", validation=0.05)
    bothways.prepare([], pairs=[f"ours-theirs={place / 'pairs.tsv'}"], out=place / "pairs", options=options)
    alike = options.model_copy(update={"tokenizer": place / "pairs" / "tokenizer"})
    texts = [f"{name}={place / f'{name}.txt'}" for name in ("ours", "theirs")]
    bothways.prepare(texts, out=place / "texts", options=alike)
    found = {}
    for objective, shards in (("tlm", "pairs"), ("mlm", "texts")):
        opened = Shards.open(place / shards)
        train(opened.path, place / objective, objective=objective, steps=steps, seed=seed)
        held = Rows(opened.validation, opened.vocabulary, length=64, seed=None)
        rows = [held[i] for i in range(len(held))]
        hide: Mask = Mask(opened.vocabulary, replacement=REPLACEMENTS["all-mask"])
        asked = build(objective, opened.vocabulary)
        asked = replace(asked, corrupt=BothSides(hide))
        found[objective], found["hidden places"] = recall(place / objective, asked, rows)
        if objective == "tlm":
            alone = [first_sides(row, opened.vocabulary.cls, opened.vocabulary.sep) for row in rows]
            found["tlm without the other side"], _ = recall(place / objective, asked, alone)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    results = []
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as place:
            results.append(one(Path(place), steps=asked.steps, size=asked.words, seed=seed))
        print(json.dumps({"seed": seed, **{name: round(value, 4) for name, value in results[-1].items()}}))
    if not all(found["tlm"] >= WANTED * found["mlm"] for found in results):
        sys.exit(f"FAILED: TLM does not recall {WANTED:g} times what MLM recalls")
    if not all(found["tlm"] >= WANTED * found["tlm without the other side"] for found in results):
        sys.exit("FAILED: TLM recalls without the other side what it recalls with it")
    print(f"PASSED: TLM recalls at least {WANTED:g} times what MLM recalls, by the other side")


if __name__ == "__main__":
    main()
