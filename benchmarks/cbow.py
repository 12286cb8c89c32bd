"""`bothways word-vectors` beside gensim's CBOW: the same words, settings and core, one thread each, in turns.

    python benchmarks/cbow.py [SHARDS] [--similarity PAIRS.tsv ...] [--rounds 3] [--epochs 5]

SHARDS is a folder that `bothways prepare` made; left out, python-docs is prepared. Every run is a process of its own.
Timed is training alone, on both sides after the vocabulary is known: ours with its look at held-out text after every
epoch; gensim with `corpus_file`, which reads in C and is the faster of its two ways. Words are counted before frequent
ones are dropped. PAIRS.tsv holds lines of word, word, score: the vectors of the last round are compared with people.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

SIDES = ("gensim", "ours exact", "ours word2vec")
SETTINGS = {"dim": 100, "window": 5, "min_count": 5, "negative": 5, "sample": 1e-3}
LINE = 10_000  # words of a sentence that gensim reads at most


def write_sentences(shards: Path, file: Path) -> int:
    """The training text as gensim reads it, a line a document: the words of our vocabulary. Returns their number."""
    from bothways.corpus import Shards
    from bothways.word_vectors.words import read_words

    words, text, _ = read_words(Shards.open(shards), min_count=SETTINGS["min_count"], lowercase=True)
    spelled = np.array(words.spelled, dtype=object)
    cuts = np.flatnonzero(np.diff(text.documents)) + 1
    with open(file, "w", encoding="utf-8") as out:
        for document in np.split(text.words, cuts):
            for at in range(0, len(document), LINE):
                out.write(" ".join(spelled[document[at : at + LINE]]) + "\n")
    return len(text.words)


def ours(shards: Path, gradient: str, epochs: int) -> tuple[Any, list[tuple[float, float]]]:
    """Vectors, and both clocks whenever training looked at its own."""
    from bothways.word_vectors import CbowConfig, train_cbow

    seen: list[tuple[float, float]] = []

    def clock() -> float:
        seen.append((time.perf_counter(), time.process_time()))
        return seen[-1][0]

    config = CbowConfig.model_validate({**SETTINGS, "gradient": gradient, "epochs": epochs, "lowercase": True})
    found = train_cbow(shards, config, clock=clock)
    clock()  # the end of training: gensim's is counted whole, so is ours
    return found.vectors, seen


def theirs(sentences: Path, epochs: int) -> tuple[Any, list[tuple[float, float]]]:
    from gensim.models import Word2Vec

    from bothways.word_vectors import WordVectors

    names = {"dim": "vector_size"}
    model = Word2Vec(workers=1, sg=0, cbow_mean=1, seed=1, **{names.get(k, k): v for k, v in SETTINGS.items()})
    model.build_vocab(corpus_file=str(sentences))
    seen = [(time.perf_counter(), time.process_time())]
    model.train(
        corpus_file=str(sentences),
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=epochs,
    )
    seen.append((time.perf_counter(), time.process_time()))
    return WordVectors(model.wv.index_to_key, model.wv.vectors), seen


def correlation(vectors: Any, file: Path) -> tuple[float, int]:
    """Spearman's, between cosines and what people said, and the number of pairs whose words are both known."""
    from scipy.stats import spearmanr

    pairs = [line.lower().split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    known = [(a, b, float(score)) for a, b, score in pairs if a in vectors and b in vectors]
    cosines = [vectors.similarity(a, b) for a, b, _ in known]
    return float(spearmanr(cosines, [score for _, _, score in known])[0]), len(known)


def one_run(side: str, shards: Path, sentences: Path, epochs: int, pairs: list[Path]) -> None:
    """In a process of its own: prints seconds by both clocks, and correlations."""
    import torch

    torch.set_num_threads(1)
    kind = side.partition(" ")[2]
    vectors, seen = ours(shards, kind, epochs) if kind else theirs(sentences, epochs)
    seconds = [last - first for first, last in zip(seen[0], seen[-1], strict=True)]
    print(json.dumps({"seconds": seconds, "scores": {file.stem: correlation(vectors, file) for file in pairs}}))


def compare(given: argparse.Namespace) -> None:
    """All sides in turns, then medians of the ratios."""
    common.begin(["gensim", "numpy", "torch"])
    work = Path(tempfile.mkdtemp(prefix="cbow-"))
    shards = given.shards or common.prepare("python-docs", work / "shards", vocabulary=8192)
    words = given.epochs * write_sentences(shards, work / "sentences.txt")
    print(f"{words // given.epochs:,} words, {given.epochs} epochs; {SETTINGS}")
    core = {given.core if given.core is not None else min(os.sched_getaffinity(0))}
    runs: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    scores = {}
    for turn in range(given.rounds):
        for side in SIDES:
            asked = [side, shards, work / "sentences.txt", given.epochs, *given.similarity]
            command = [__file__, "--side", json.dumps([str(part) for part in asked])]
            told = json.loads(common.call(command, cores=core, huge_pages=side != "gensim").splitlines()[-1])
            runs[side].append([words / seconds for seconds in told["seconds"]])
            scores[side] = told["scores"]
            speeds = ", ".join(f"{speed / 1e3:,.0f}k" for speed in runs[side][-1])
            print(f"{turn + 1}. {side:14} {speeds} words a second by the wall and of processor time", flush=True)
    for side in SIDES[1:]:
        for place, kind in enumerate(("the wall", "processor time")):
            ratios = [a[place] / b[place] for a, b in zip(runs[side], runs["gensim"], strict=True)]
            low, high = min(ratios), max(ratios)
            print(f"{side}: {statistics.median(ratios):.2f} times gensim by {kind} ({low:.2f} to {high:.2f})")
    for file in [Path(name).stem for name in given.similarity]:
        found = ", ".join(f"{side} {scores[side][file][0]:.3f}" for side in SIDES)
        print(f"{file}: {found} ({scores[SIDES[0]][file][1]} pairs)")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    found = argparse.ArgumentParser(description="bothways word-vectors beside gensim's CBOW")
    found.add_argument("shards", nargs="?", type=Path, help="what bothways prepare made (default: of python-docs)")
    found.add_argument("--similarity", nargs="*", default=[], help="files of word, word, score")
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument("--epochs", type=int, default=5)
    found.add_argument("--core", type=int, help="default: the first that may be used")
    found.add_argument("--side", help=argparse.SUPPRESS)
    given = found.parse_args(arguments)
    if given.rounds < 1 or given.epochs < 1:
        found.error("--rounds and --epochs: expected 1 or more")
    return given


def main() -> None:
    given = parse()
    if given.side:
        side, shards, sentences, epochs, *pairs = json.loads(given.side)
        one_run(side, Path(shards), Path(sentences), int(epochs), [Path(file) for file in pairs])
    else:
        compare(given)


if __name__ == "__main__":
    main()
