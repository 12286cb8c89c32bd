"""The discriminator finds replaced tokens clearly better than rarity does.

python proofs/electra.py [SHARDS] [--run RUN] [--tokens 5e6] [--size tiny] [--objective electra]

A run of `electra` (or the one in --run) judges held-out text in which its own generator filled 15 % of
the places. Measured is the area under the ROC curve: the chance that a replaced token looks more replaced than an
original one does. Beside it stand detectors that count: how rare the token is (unigram), and how improbable after what
comes before it (bigram, trigram).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import bothways
from bothways.batch import Batch, Row
from bothways.config import read
from bothways.corpus import Rows, Shards
from bothways.corpus.ngrams import NGrams
from bothways.inference import LanguageModel
from bothways.objectives import build
from bothways.training.pretraining import PretrainConfig

ROWS = 512
ORDERS = {1: "unigram", 2: "bigram", 3: "trigram"}
CLEARLY = 0.03  # of the area


def filled(generator: LanguageModel, rows: Sequence[Row], shards: Shards) -> np.ndarray:
    """[rows, T]: held-out rows with the generator's draws in hidden places."""
    masked = build("mlm(replace=all-mask)", shards.vocabulary)
    draw = torch.Generator().manual_seed(0)
    result = np.stack([row.tokens for row in rows])
    for start in range(0, len(rows), 16):
        samples = [masked.sample(rows[i], np.random.default_rng((0, i)), 1.0) for i in range(start, start + 16)]
        batch = Batch.stack(samples)
        with torch.inference_mode():
            at = torch.as_tensor(batch.targets[0].at)
            states = generator.engine.model.states(batch).flatten(0, 1)[at]
            share = generator.engine.model.logits(states).softmax(-1)
            result[start : start + 16].reshape(-1)[at.numpy()] = torch.multinomial(share, 1, generator=draw)[:, 0]
    return result


def suspicions(model: LanguageModel, rows: Sequence[Row], tokens: np.ndarray, shards: Shards) -> dict[str, np.ndarray]:
    """{detector: how replaced each token looks, [rows, T]}."""
    head: Any = model.engine.model.heads["replaced"]
    together = build("mlm", shards.vocabulary)
    found = []
    for start in range(0, len(rows), 16):
        layout = [together.sample(rows[i], np.random.default_rng(0), 1.0) for i in range(start, start + 16)]
        batch = Batch.stack(layout)
        batch = Batch(torch.from_numpy(tokens[start : start + 16]).long(), batch.layout, ())
        with torch.inference_mode():
            found.append(head(model.engine.model.states(batch)).numpy())
    counted = NGrams.count(shards.train.read(0, shards.train.token_count)[0], shards.vocabulary)
    nats = {name: np.stack([counted.score(row, order) for row in tokens]) for order, name in ORDERS.items()}
    return {"discriminator": np.concatenate(found), **nats}


def spread_of(suspicion: np.ndarray, replaced: np.ndarray, text: np.ndarray) -> float:
    """Standard error of the area over rows [rows, T], by bootstrap."""
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(100):
        some = rng.integers(len(suspicion), size=len(suspicion))
        areas.append(roc_auc_score(replaced[some][text[some]], suspicion[some][text[some]]))
    return float(np.std(areas))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--tokens", type=float, default=5e6)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--objective", default="electra", help="with its arguments, or deberta-v3")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = asked.shards or Path(place) / "shards"
        if asked.shards is None:
            bothways.prepare(["python-docs"], out=folder)
        run = asked.run or Path(place) / "run"
        if asked.run is None:
            training = {"budget": {"tokens": asked.tokens}, "validate_every": 0.25}
            values = {"shards": folder, "out": run, "size": asked.size, "objective": asked.objective}
            bothways.pretrain(read(PretrainConfig, {**values, "training": training}))
        shards, model, generator = Shards.open(folder), bothways.load(run), bothways.load(run / "generator")
        held = Rows(shards.validation, shards.vocabulary, length=model.engine.model.config.length, seed=None)
        rows = [held[i] for i in range(min(ROWS, len(held)) // 16 * 16)]
        tokens, original = filled(generator, rows, shards), np.stack([row.tokens for row in rows])
        text = shards.vocabulary.text_table()[original]
        replaced = tokens != original
        print(f"{len(rows)} held-out rows, {replaced[text].mean():.1%} of the tokens replaced")
        found = suspicions(model, rows, tokens, shards)
    areas = {name: roc_auc_score(replaced[text], each[text]) for name, each in found.items()}
    for name, value in areas.items():
        print(f"  {name:13s} area under the ROC curve {value:.3f} +- {spread_of(found[name], replaced, text):.3f}")
    ahead = areas["discriminator"] - areas["unigram"]
    if ahead < CLEARLY:
        sys.exit(f"FAILED: {ahead:+.3f} against the unigram detector; at least {CLEARLY} asked")
    print(f"PASSED: {ahead:+.3f} against the unigram detector")


if __name__ == "__main__":
    main()
