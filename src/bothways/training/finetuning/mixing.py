"""Which examples a step reads where there are several tasks: drawn row by row, a function of seed and step alone.

A task of |D| examples is drawn with weights |D|^a: 1 is proportional to size, 0 gives every task the same share, and
0.75 is BAM's (Clark et al. 2019, "BAM! Born-Again Multi-Task Networks", section 3.3), so that a small task is not
drowned. MT-DNN (Liu et al. 2019, algorithm 1) draws whole batches of one task, in proportion to size; here the rows of
a batch are of several tasks.

Letters: K tasks, E examples that an epoch reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, slots=True)
class Mixing:
    """An epoch reads as many examples as all tasks have together. Each task's are read in an order of their own, all
    of them before one is read again, however the epochs fall.

    sizes     [K] examples of each task
    weights   [K] of how often they are drawn, times size to the power of `exponent`
    batch     examples of a step; the last step of an epoch may have fewer
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    exponent: float
    batch: int
    seed: int

    @property
    def shares(self) -> np.ndarray:
        """float64 [K]: the chance that an example is of each task."""
        parts = np.array(self.weights) * np.array(self.sizes, dtype=np.float64) ** self.exponent
        return np.asarray(parts / parts.sum())

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-sum(self.sizes) // self.batch)

    def of_step(self, step: int) -> list[tuple[int, int, int]]:
        """(number of the task, number of its example, how often that was read before) of each that a step reads."""
        epoch, place = divmod(step, self.steps)
        drawn = _of_epoch(self, epoch)[place * self.batch : (place + 1) * self.batch]
        return [(int(task), int(example), int(turn)) for task, example, turn in drawn]


def _tasks(mixing: Mixing, epoch: int) -> np.ndarray:
    """int [E]: the task of every example of an epoch."""
    rng = np.random.default_rng([mixing.seed, epoch])
    return rng.choice(len(mixing.sizes), size=sum(mixing.sizes), p=mixing.shares)


@lru_cache(maxsize=8)
def _read_before(mixing: Mixing, epoch: int) -> np.ndarray:
    """int [K]: how many examples of each task the epochs before one read."""
    counts = np.zeros(len(mixing.sizes), dtype=np.int64)
    for one in range(epoch):
        counts += np.bincount(_tasks(mixing, one), minlength=len(mixing.sizes))
    return counts


@lru_cache(maxsize=2)
def _of_epoch(mixing: Mixing, epoch: int) -> np.ndarray:
    """int [E, 3]: task, example and turn of every example of an epoch, in order."""
    tasks, before = _tasks(mixing, epoch), _read_before(mixing, epoch)
    examples, turns = np.zeros_like(tasks), np.zeros_like(tasks)
    for task, size in enumerate(mixing.sizes):
        places = np.flatnonzero(tasks == task)
        number = before[task] + np.arange(len(places))  # of all that are ever read of this task
        turns[places] = number // size
        for turn in np.unique(number // size).tolist():
            order = np.random.default_rng([mixing.seed, task, turn]).permutation(size)
            now = number // size == turn
            examples[places[now]] = order[number[now] % size]
    return np.stack([tasks, examples, turns], axis=1)
