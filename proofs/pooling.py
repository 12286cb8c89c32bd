"""Is the mean of a text's states a better vector of it than the state of its first token? By linear probes.

    python proofs/pooling.py --models NAME=ENCODER ... --probes NAME=TRAIN,TEST ...

ENCODER is the encoder/ of a run, or another folder of sentence-transformers. Both ways are read from the same weights,
by the file that says how sentence-transformers pools them. Prints the accuracy of both and the difference with its 95 %
interval over the test items; fails where the mean is behind by more than that.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bothways import load
from bothways.evaluation.linear_probe import linear_probe, read_sides
from bothways.statistics import estimate
from bothways.tasks.task import Example

WAYS = ("mean", "cls")
STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def right(encoder: Path, way: str, sides: Sequence[Sequence[Example]]) -> np.ndarray:
    """[test] 1 where a probe of the vectors that are pooled in one way is right, else 0."""
    with TemporaryDirectory() as place:
        folder = shutil.copytree(encoder, Path(place) / "encoder")
        (folder / "SHA256SUMS").unlink(missing_ok=True)  # of the file that is changed now
        file = folder / "1_Pooling" / "config.json"
        kept = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**kept, "pooling_mode": way}), encoding="utf-8")  # before all pooling_mode_...
        model = load(folder)
        train, test = (model.embed([one.texts[0] for one in side]) for side in sides)
    labels = tuple([str(one.gold) for one in side] for side in sides)
    return linear_probe((train, test), (labels[0], labels[1]), strengths=STRENGTHS).astype(float)


def main() -> int:
    """0, or 1 where the mean is behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--probes", nargs="+", required=True)
    given = parser.parse_args()
    behind = False
    print("| model | probe | mean | first token | difference |\n|---|---|---|---|---|")
    for model, _, encoder in (one.partition("=") for one in given.models):
        for probe, _, files in (one.partition("=") for one in given.probes):
            sides = read_sides("classify", *map(Path, files.split(",")))
            mean, first = (right(Path(encoder), way, sides) for way in WAYS)
            apart = estimate([mean, first])
            behind |= apart.high < 0
            print(
                f"| {model} | {probe} | {mean.mean():.3f} | {first.mean():.3f} | "
                f"{apart.figure:+.3f} ({apart.low:+.3f} to {apart.high:+.3f}) |",
                flush=True,
            )
    return int(behind)


if __name__ == "__main__":
    sys.exit(main())
