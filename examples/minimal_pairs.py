"""Which of two sentences does a model find more probable? Accuracy over minimal pairs, read both ways.

    python examples/minimal_pairs.py RUN PAIRS.jsonl.gz [--each 100]

The file has a JSON record a line with "good", "bad" and "paradigm" (BLiMP, Warstadt et al. 2020; SLING, Song et al.
2022). A sentence's score is the sum of the log-probabilities of its tokens. Intervals: 95 %, over pairs (normal
approximation of a share).
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

import bothways


def read_pairs(path: Path, each: int) -> dict[str, list[tuple[str, str]]]:
    """{paradigm: its first `each` pairs of (good, bad)}"""
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if len(pairs[record["paradigm"]]) < each:
                pairs[record["paradigm"]].append((record["good"], record["bad"]))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--each", type=int, default=100, help="pairs of a paradigm")
    options = parser.parse_args()
    model, paradigms = bothways.load(options.run), read_pairs(options.pairs, options.each)
    pairs = [pair for some in paradigms.values() for pair in some]
    goods, bads = [good for good, _ in pairs], [bad for _, bad in pairs]
    trained = model.engine.abilities
    ways = [("causal", False)] * ("decoder" in trained.faces) + [("pseudo", False), ("pseudo", True)] * bool(
        trained.hidden
    )
    print(f"{len(pairs)} pairs of {len(paradigms)} paradigms")
    for how, within_word in ways:
        right = model.score(goods, how=how, within_word=within_word) > model.score(
            bads, how=how, within_word=within_word
        )
        share, names = right.mean(), np.repeat(list(paradigms), [len(some) for some in paradigms.values()])
        by_paradigm = sorted((float(right[names == name].mean()), name) for name in paradigms)
        name = f"{how}{', within words left to right' if within_word else ''}"
        print(f"{name:38s} {share:.3f} +- {1.96 * (share * (1 - share) / len(right)) ** 0.5:.3f}")
        print("  best   " + ", ".join(f"{name} {value:.2f}" for value, name in by_paradigm[:-4:-1]))
        print("  worst  " + ", ".join(f"{name} {value:.2f}" for value, name in by_paradigm[:3]))


if __name__ == "__main__":
    main()
