"""How long the steps of a run will take, from its first ones: later ones may read more."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from bothways.training.pretraining.flops import Cost

UNKNOWN = 10**12
"""Steps of a run whose number is not known yet: more than any run has."""


@contextmanager
def timed_updates(optimisers: Sequence[torch.optim.Optimizer]) -> Iterator[list[float]]:
    """The seconds that each step of each optimiser takes inside."""
    taken: list[float] = []
    hooks = [one.register_step_pre_hook(lambda *_: taken.append(-time.perf_counter())) for one in optimisers]

    def end(*_: object) -> None:
        taken[-1] += time.perf_counter()

    hooks += [one.register_step_post_hook(end) for one in optimisers]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


def mean_pace(steps: Sequence[float], updates: Sequence[float], cost: Cost) -> float:
    """Seconds of a step, the mean over a run, from those of its first steps and of the updates in them.

    An update takes as long whatever a step reads; all else is as long as its FLOPs are many.
    """
    pace = statistics.median(steps)
    update = min(pace, sum(updates) / len(steps))
    return update + (pace - update) * cost.upto(1.0) / cost.at(0.0)
