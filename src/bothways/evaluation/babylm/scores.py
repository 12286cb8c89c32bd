"""Minimal pairs scored for every model on the way, each once: by BabyLM's rule and by ours.

Letters: N pairs, P paradigms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus import Shards
from bothways.corpus.ngrams import NAMES, NGrams
from bothways.corpus.records import suffix_of
from bothways.errors import DataError, UsageError
from bothways.evaluation.comparison.eval_data import Pairs
from bothways.evaluation.probes import PairScores, pair_scores
from bothways.inference import load
from bothways.inference.language_model import LanguageModel
from bothways.seals import unsealed, write_sealed
from bothways.statistics import estimate

VERSION = 2
RECORDS_OF_PAIRS = (".jsonl", ".csv", ".tsv", ".parquet")
PairSets = dict[str, Pairs]
"""{name of a file or folder: its pairs}"""
Figures = dict[str, dict[str, Any]]
"""{scoring: {"official", "sum", "mean": shares of pairs won, means over paradigms; "low", "high": the 95 % interval of
"sum"; "ties", "items", "paradigms": {name: the three shares}}}"""


def read_pairs(places: Sequence[Path], *, each: int) -> PairSets:
    """
    Raises:
        DataError: a file that is missing or damaged, a record without a good or a bad sentence, or nothing to read.
        UsageError: two places of one name.
    """
    found: PairSets = {}
    for place in places:
        inside = (
            sorted(file for file in place.iterdir() if suffix_of(file) in RECORDS_OF_PAIRS)
            if place.is_dir()
            else [place]
        )
        if not inside:
            raise DataError(f"{place}: expected files of pairs ({', '.join(RECORDS_OF_PAIRS)}), found none")
        name = place.resolve().name.partition(".")[0]
        if name in found:
            raise UsageError(f"two sets of pairs are called {name!r}: rename the file or folder of one")
        found[name] = Pairs.read(tuple(inside), each=each, by_file=place.is_dir())
    return found


def key_of(pairs: PairSets) -> str:
    """What changes with the pairs."""
    parts = [VERSION, [[name, some.good, some.bad, some.paradigm] for name, some in pairs.items()]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def scored(model: Path, pairs: PairSets, place: Path, *, device: str | None = None) -> dict[str, Figures]:
    """{set: its figures} of a saved model; those that stand in the file `place` are read.

    Raises:
        DataError: a set of which the tokenizer can represent no pair.
        ModelError: the model cannot be read, was taught nothing that pairs measure, or the file is damaged.
    """
    if not place.exists():
        loaded = load(model, device=device)
        found = {name: judged(_scores(loaded, name, some), some) for name, some in pairs.items()}
        write_sealed(place, {"scores": found})
    scores: dict[str, Figures] = unsealed(place)["scores"]
    return scores


def _scores(loaded: LanguageModel, name: str, pairs: Pairs) -> PairScores:
    found = pair_scores(loaded, pairs.good, pairs.bad)
    if not len(found.item):
        raise DataError(f"{name}: expected pairs that the tokenizer can represent, got none of {len(pairs.good)}")
    return found


def judged(scores: PairScores, pairs: Pairs) -> Figures:
    """By three rules: BabyLM's, ours by sums, ours by means of a token."""
    of = np.array([pairs.paradigm[i] for i in scores.item.tolist()])
    names, at = np.unique(of, return_inverse=True)
    found: Figures = {}
    for scoring in scores.sums:
        won = [scores.by_first_of_likeliest(scoring), scores.by_sum(scoring), scores.by_token(scoring)]  # each [N]
        shares = np.array([np.bincount(at, one) / np.bincount(at) for one in won])  # [3, P]
        interval = estimate([won[1]], template=of)
        found[scoring] = {
            **dict(zip(("official", "sum", "mean"), shares.mean(1).tolist(), strict=True)),
            "low": interval.low,
            "high": interval.high,
            "ties": int((won[1] == 0.5).sum()),
            "items": len(of),
            "paradigms": dict(zip(names.tolist(), shares.T.tolist(), strict=True)),
        }
    return found


def counted(shards: Shards, pairs: PairSets) -> dict[str, Figures]:
    """The same of n-grams that count the training text: what no model is needed for."""
    grams, cls = NGrams.count(shards.train, shards.vocabulary), [shards.vocabulary.cls]
    found = {}
    for name, some in pairs.items():
        rows = [np.array([*cls, *shards.tokenizer.encode(text)]) for text in (*some.good, *some.bad)]
        sizes = np.array([len(row) for row in rows])
        owner, whole = np.repeat(np.arange(len(rows)), sizes), np.concatenate(rows)
        sums = {gram: -np.bincount(owner, grams.score(whole, order)) for order, gram in enumerate(NAMES, 1)}
        known = np.array([shards.vocabulary.unk not in row for row in rows])
        lengths = (known * (sizes - 1)).reshape(2, -1)
        item = np.flatnonzero((lengths > 0).all(0))  # as of a model
        kept = {gram: one.reshape(2, -1)[:, item] for gram, one in sums.items()}
        found[name] = judged(PairScores(item, lengths[:, item], kept), some)
    return found
