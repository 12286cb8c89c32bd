"""What protection costs: hashing a model when it is loaded, checked answers, shards that are read piece by piece.

Each beside the same without it, in turn, as often as asked; the interval is that of the mean of the pairs' ratios.

    python benchmarks/reliability.py [--pairs 20] [--size 12x768] [--clock wall]

`--clock cpu` counts the time of the processor, on all threads: what neighbours on a shared machine do not change much,
and what a load costs that has no second core to hash on. Some ten minutes for a model of 98 million weights.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import bothways
from bothways.corpus import Shards
from bothways.corpus.shards import Stream
from bothways.files import sha256
from bothways.inference.engine import Engine
from bothways.model import Abilities, Model, preset, save_faces
from bothways.statistics import Mean
from bothways.sums import SUMS

VOCABULARY, LENGTH, ROWS = 16_384, 512, 2000
WORDS = [f"{first}{second}" for first in ("ka", "to", "mi", "re", "su") for second in ("ba", "do", "le", "ni", "pu")]


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = CLOCKS["wall"]


def seconds(work: Callable[[], object]) -> float:
    started = clock()
    work()
    return clock() - started


def in_turn(name: str, protected: Callable[[], object], bare: Callable[[], object], pairs: int) -> None:
    """Both, one after the other, the first of a pair in turn; the first pair warms up and is not counted."""
    taken = []
    for number in range(pairs + 1):
        order = (protected, bare) if number % 2 else (bare, protected)
        found = {work: seconds(work) for work in order}
        taken.append((found[protected], found[bare]))
    with_it, without = (np.array(column) for column in zip(*taken[1:], strict=True))
    more = Mean.of(list(100 * (with_it / without - 1)))
    medians = f"{np.median(with_it) * 1e3:9.3f} ms with, {np.median(without) * 1e3:9.3f} ms without"
    print(f"{name:30s} {medians}: {more.mean:+.2f} % (± {more.half:.2f})", flush=True)


def saved(at: Path, shards: Shards, size: str) -> Path:
    """A masked language model of random weights."""
    config = preset(size, vocabulary=VOCABULARY, length=LENGTH)
    model = Model(config)
    print(f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.0f} million weights, {os.cpu_count()} cores")
    (folder,) = save_faces(
        at / "model",
        weights=model.state_dict(),
        config=config,
        vocabulary=shards.vocabulary,
        trained=Abilities("mlm", ("encoder",), "in place"),
        save_tokenizer=lambda place, face: shards.tokenizer.save(place, template=face, length=LENGTH),
        card=lambda face: "",
    )
    return folder


def loads(folder: Path, pairs: int) -> None:
    """With the list of hashes, and without."""
    weights, listed, away = folder / "model.safetensors", folder / SUMS, folder / "away"
    alone = min(seconds(lambda: sha256(weights)) for _ in range(3))
    print(f"hashing alone                  {alone * 1e3:9.3f} ms for {weights.stat().st_size / 2**20:.0f} MiB")

    def without() -> None:
        listed.rename(away)
        bothways.load(folder, device="cpu")
        away.rename(listed)

    in_turn("load", lambda: bothways.load(folder, device="cpu"), without, pairs)


def answers(folder: Path, pairs: int) -> None:
    """Checked to be finite, and not."""
    model, checks = bothways.load(folder, device="cpu"), Engine.finite
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=40)) for _ in range(4)]

    def bare(work: Callable[[], object]) -> None:
        Engine.finite = lambda engine, found: found  # type: ignore[method-assign]
        try:
            work()
        finally:
            Engine.finite = checks  # type: ignore[method-assign]

    asked = {"embed, 4 texts": lambda: model.embed(texts), "fill, 1 mask": lambda: model.fill(f"{texts[0]} [MASK]")}
    for name, work in asked.items():
        in_turn(name, work, lambda work=work: bare(work), pairs)  # type: ignore[misc]


def rows(stream: Stream, folder: Path, pairs: int) -> None:
    """Rows at random places, and the same from files mapped into memory, which nothing protects."""
    kind = np.dtype("<u2")
    tokens, words = (
        np.memmap(folder / f"train-00000.{name}", dtype=np.uint8, mode="r") for name in ("tokens", "words")
    )
    starts = np.random.default_rng(0).integers(0, stream.token_count - LENGTH, ROWS).tolist()
    stream.read(0, stream.token_count)  # what is read for the first time is hashed, mapped or not

    def mapped() -> None:
        for start in starts:
            tokens[2 * start : 2 * (start + LENGTH)].view(kind).astype(np.int32)
            bits = np.unpackbits(words[start // 8 : -(-(start + LENGTH) // 8)])
            bits[start % 8 :][:LENGTH].astype(bool)

    def read() -> None:
        for start in starts:
            stream.read(start, start + LENGTH)

    in_turn(f"{ROWS} rows of {LENGTH} tokens", read, mapped, pairs)
    more = max(1e-9, min(seconds(read) for _ in range(5)) - min(seconds(mapped) for _ in range(5))) / ROWS
    pace = LENGTH / more / 100
    print(f"a row costs {more * 1e6:.1f} microseconds more: 1 % of a step of training at {pace:,.0f} tokens a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--size", default="12x768")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    asked = parser.parse_args()
    global clock
    clock = CLOCKS[asked.clock]
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        at = Path(place)
        texts = "\n".join(" ".join(rng.choices(WORDS, k=30)) for _ in range(20_000))
        (at / "text.txt").write_text(texts + "\n", encoding="utf-8")
        bothways.prepare([at / "text.txt"], out=at / "shards", documents="lines", vocabulary=512)
        shards = Shards.open(at / "shards")
        rows(shards.train, at / "shards", asked.pairs)
        folder = saved(at, shards, asked.size)
        loads(folder, asked.pairs)
        answers(folder, asked.pairs)


if __name__ == "__main__":
    main()
