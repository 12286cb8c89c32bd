"""How far a score on a test file could be off: other examples would have given another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bothways.model import TaskHead
from bothways.tasks.task import Example, Task

RESAMPLES = 200


def bootstrap(
    task: Task, examples: Sequence[Example], said: Sequence[dict[str, Any]], head: TaskHead, *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """{metric: (low, high)}, the middle 95 % of the scores of as many examples drawn with replacement."""
    rng, scores_of = np.random.default_rng(seed), task.scores_of(examples, said, head)
    found = [scores_of(rng.integers(len(examples), size=len(examples)).tolist()) for _ in range(RESAMPLES)]
    low, high = (
        {name: float(np.quantile([scores[name] for scores in found], share)) for name in found[0]}
        for share in (0.025, 0.975)
    )
    return {name: (low[name], high[name]) for name in low}


def calibration(
    chances: np.ndarray, right: np.ndarray, *, bins: int = 10
) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error (Guo et al. 2017, section 2), and of each bin (mean chance, share right, count).

    Args:
        chances: [N] what the model gave its own answer.
        right: [N] whether that answer was right.
    """
    place = np.minimum((chances * bins).astype(int), bins - 1)
    found = [
        (float(chances[place == i].mean()), float(right[place == i].mean()), int((place == i).sum()))
        for i in range(bins)
        if (place == i).any()
    ]
    return sum(count * abs(said - true) for said, true, count in found) / max(len(chances), 1), found
