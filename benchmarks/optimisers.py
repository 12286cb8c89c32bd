"""A step of each optimiser beside the training step that it belongs to, on one core.

    python benchmarks/optimisers.py [--size mini] [--length 128] [--pairs 3]

Both are measured in one process: real steps of `bothways pretrain`'s loop on random tokens (planning/here.py), and the
optimiser alone on the same weights. Muon's share of a step is held to 6 %.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command does, before torch is imported

import common
import torch

from bothways.machine import dtype_of, precision_for
from bothways.model import Model, preset
from bothways.planning.here import pace, training_for
from bothways.training.config import OptimiserConfig
from bothways.training.optimiser import LEARNING_RATES, build_optimisers, rated
from bothways.training.weights import Replicated, by_kind

VOCABULARY = 8192
MOST = 0.06  # of a training step, for Muon


def step_seconds(size: str, name: str) -> float:
    """A step of the optimiser over all weights: the fastest of five."""
    model = Model(preset(size, vocabulary=VOCABULARY))
    dtype = dtype_of(precision_for())
    weights = Replicated(model, dtype)
    config = rated(OptimiserConfig.model_validate({"name": name}), width=model.config.width)
    optimisers = build_optimisers(config, by_kind(weights, model), dtype=dtype)
    weights.gradient.normal_(generator=torch.Generator().manual_seed(0))
    taken = []
    for _ in range(6):
        began = time.perf_counter()
        for optimiser in optimisers:
            optimiser.step()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser((__doc__ or "").splitlines()[0], pairs=3)
    parser.add_argument("--size", default=common.SIZE)
    parser.add_argument("--length", type=int, default=128)
    given = common.parse(parser, arguments)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    common.begin(("torch",))
    shape = preset(given.size, vocabulary=VOCABULARY, length=given.length)
    shares: dict[str, list[float]] = {name: [] for name in LEARNING_RATES}
    for number in range(1, given.pairs + 1):
        whole = pace(shape, training_for(shape, size=given.size, length=given.length), objective="mlm")
        alone = {name: step_seconds(given.size, name) for name in LEARNING_RATES}
        for name, seconds in alone.items():
            shares[name].append(seconds / whole.step_seconds)
        told = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in alone.items())
        print(
            f"  {number}. {given.size}, {whole.step_tokens:,} tokens a step: {whole.step_seconds:.2f} s "
            f"({whole.tokens_a_second:,.0f} tokens a second); alone: {told}",
            flush=True,
        )
    share = statistics.median(shares["muon"])
    verdict = "reached" if share <= MOST else "MISSED"
    print(f"  Muon is {share:.1%} of a training step (median); at most {MOST:.0%} asked: {verdict}")


if __name__ == "__main__":
    main()
