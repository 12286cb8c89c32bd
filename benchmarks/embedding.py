"""Vectors of texts beside sentence-transformers: the same folder, the same texts, texts a second on one core.

    python benchmarks/embedding.py [--model FOLDER] [--texts test.jsonl] [--pairs 5] [--core 0]

FOLDER is one that sentence-transformers loads, as all-MiniLM-L6-v2; left out, a BERT of its shape with random weights.
Records hold text; left out, they are the docstrings of this Python. Both sides are in this process, with one thread,
`model.embed` as it is and `encode` with batches of 32 and of 128, which sorts by length itself. They take turns; the
median of the ratios counts, and the vectors are compared.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import common
import numpy as np
import torch
from finetuning import docstrings, random_model, records, texts_of

import bothways
from bothways.machine import dtype_of


def timed(embed: Callable[[list[str]], np.ndarray], texts: list[str]) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    return embed(texts), time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser((__doc__ or "").splitlines()[0], pairs=5)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--texts", type=Path, help="records with text")
    parser.add_argument("--examples", type=int, default=640)
    parser.add_argument("--core", type=int, default=0)
    given = common.parse(parser, arguments)
    common.begin(["torch", "transformers", "sentence-transformers"])
    from sentence_transformers import SentenceTransformer

    file, folder = given.texts or docstrings(given.work), given.model or random_model(given.work)
    os.sched_setaffinity(0, {given.core})
    torch.set_num_threads(1)
    texts = [texts_of(record)[0] for record in records(file, given.examples)]
    for precision in common.precisions():
        dtype = dtype_of(precision)
        model = bothways.load(folder, device="cpu", dtype=dtype)
        theirs = SentenceTransformer(str(folder), device="cpu", model_kwargs={"torch_dtype": dtype})
        for size in (32, 128):
            sides = [
                lambda texts, model=model: model.embed(texts),
                lambda texts, theirs=theirs, size=size: theirs.encode(texts, batch_size=size, show_progress_bar=False),
            ]
            for side in sides:
                side(texts[:64])
            ratios, speeds = [], []
            for number in range(given.pairs):
                turn = (0, 1) if number % 2 == 0 else (1, 0)
                found = {side: timed(sides[side], texts) for side in turn}
                ratios.append(found[1][1] / found[0][1])
                speeds.append(len(texts) / found[0][1])
            away = float(np.abs(found[0][0] - found[1][0]).max())
            print(
                f"{precision}, batches of {size}: {statistics.median(ratios):.2f} times sentence-transformers "
                f"({min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(speeds):.0f} texts a second; vectors "
                f"at most {away:.1e} apart",
                flush=True,
            )


if __name__ == "__main__":
    main()
