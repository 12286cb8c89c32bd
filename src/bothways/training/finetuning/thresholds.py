"""From which chance on a label is given: a half, unless rare labels are better found from another one on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks.task import Example

_NEITHER = "thresholds=tuned is for two labels, or for lists of labels; of more, the likeliest is given"


def check_thresholds(head: TaskHead) -> None:
    """
    Raises:
        UsageError: answers that no threshold decides.
    """
    if head.kind != "several" and (head.head not in ("label", "san") or head.kind != "one" or len(head.labels) != 2):
        raise UsageError(_NEITHER)


def best_thresholds(
    examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead
) -> tuple[float, ...]:
    """The threshold of each label, or of the second of two, that gives it the best F1 on these examples."""
    labels = head.labels if head.kind == "several" else head.labels[1:]
    chances = np.array([[one["probabilities"][label] for label in labels] for one in predictions])
    golds = [example.gold if head.kind == "several" else (example.gold,) for example in examples]
    right = np.array([[label in gold for label in labels] for gold in golds])
    return tuple(_best(chances[:, i], right[:, i]) for i in range(len(labels)))


def _best(chances: np.ndarray, right: np.ndarray) -> float:
    """Half-way between two chances that were given; of equals, that nearest to a half. A half where none is right."""
    if not right.any():
        return 0.5
    given = np.unique(chances)
    cuts = np.concatenate([[given[0]], (given[1:] + given[:-1]) / 2])
    behind = np.searchsorted(np.sort(chances), cuts)  # how many are below each cut
    below = np.searchsorted(np.sort(chances[right]), cuts)
    found, true = len(chances) - behind, right.sum()
    f1 = 2 * (true - below) / (found + true)
    return float(min(cuts[f1 == f1.max()], key=lambda cut: abs(cut - 0.5)))
