"""Two processes beside one: `bothways pretrain --processes 2` on two cores, the same command on one of them, in turns.

    python benchmarks/scaling.py [--pairs 5] [--cores 0 1]

All runs have one thread a process, the same shards, size mini and the same steps; speeds are those of metrics.jsonl,
checked against a clock outside. One process with a thread on each core is run as well, for information.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import common

TARGET = 1.7


@dataclass(frozen=True, slots=True)
class Side:
    """A way to use the cores."""

    name: str
    cores: Collection[int]
    processes: int = 1
    threads: int = 1


def measure(sides: Sequence[Side], given: argparse.Namespace) -> dict[str, list[float]]:
    """Tokens a second of every side in every round."""
    shards = common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192)
    speeds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(1, given.pairs + 1):
        for side in sides:
            run = common.pretrain(
                shards,
                given.work / "runs" / "scaling",
                cores=side.cores,
                threads=side.threads,
                steps=given.steps,
                warmup=given.warmup,
                options=["--processes", str(side.processes)],
            )
            run.check()
            speeds[side.name].append(common.speed(run.laps, "wall"))
        line = "   ".join(f"{name} {found[-1]:6,.0f}" for name, found in speeds.items())
        print(f"  {number}. tokens a second: {line}", flush=True)
    return speeds


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    found = common.parser((__doc__ or "").splitlines()[0], pairs=5, steps=5)
    cores = sorted(os.sched_getaffinity(0))[:2]
    found.add_argument("--cores", type=int, nargs=2, default=cores, help="which two (default: the first two)")
    given = common.parse(found, arguments)
    if len(set(given.cores)) < 2:
        found.error(f"--cores: expected two different cores, got {given.cores}")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    first, second = given.cores
    common.begin(("torch",))
    tokens, length = common.TRAINING.step_tokens, common.TRAINING.length
    print(f"all      bothways pretrain --size mini --objective mlm, rows of {length}, {tokens:,} tokens a step")
    print(
        f"steps    {given.warmup} to warm up and {given.steps} measured, by the wall clock; cores {first} and {second}"
    )
    sides = [
        Side("one process", {first}),
        Side("two processes", {first, second}, processes=2),
        Side("two threads", {first, second}, threads=2),
    ]
    one, two, threads = measure(sides, given).values()
    ratio = statistics.median(b / a for a, b in zip(one, two, strict=True))
    verdict = "reached" if ratio >= TARGET else "MISSED"
    print(f"  median of {given.pairs} pair(s): two processes {ratio:.2f} times one; {TARGET} asked: {verdict}")
    ratio = statistics.median(b / a for a, b in zip(one, threads, strict=True))
    print(f"  for information: one process with two threads {ratio:.2f} times one")


if __name__ == "__main__":
    main()
