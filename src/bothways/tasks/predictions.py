"""Logits as labels with their probabilities, as several tasks predict them.

Letters: N places, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.batch import Sample
from bothways.errors import UsageError
from bothways.model import TaskHead

_TEXTS = {1: "one text", 2: "two texts"}


@dataclass(frozen=True, slots=True)
class Label:
    """The likeliest label, or all that are likely enough where several may be right; and the probability of each."""

    label: str | list[str]
    probabilities: dict[str, float]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits [..., C] as probabilities of which one is right."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def label_of(logits: np.ndarray, head: TaskHead) -> Label:
    """The label of logits [C]: without a threshold, the likeliest."""
    found = softmax(logits.astype(np.float64))
    best = int(found[1] >= head.thresholds[0]) if head.thresholds else int(found.argmax())
    return Label(head.labels[best], _named(head, found))


def labels_of(logits: np.ndarray, head: TaskHead) -> Label:
    """All labels of logits [C] whose own probability is at least their threshold, a half where there is none."""
    named = _named(head, 1 / (1 + np.exp(-logits.astype(np.float64))))
    limits = head.thresholds or (0.5,) * len(head.labels)
    return Label([label for label, limit in zip(head.labels, limits, strict=True) if named[label] >= limit], named)


def _named(head: TaskHead, found: np.ndarray) -> dict[str, float]:
    return {label: float(probability) for label, probability in zip(head.labels, found, strict=True)}


def whole(samples: Sequence[Sample], logits: Sequence[np.ndarray], *, count: int, labels: int) -> np.ndarray:
    """The logits of the first targets of all samples of an example, [count, C]; nan where none of them has a place."""
    found = np.full((count, labels), np.nan, dtype=np.float32)
    for sample, some in zip(samples, logits, strict=True):
        found[sample.targets[0].of] = some
    return found


def expected(texts: tuple[str, ...], head: TaskHead) -> tuple[str, ...]:
    """One text or two, as the model was trained on.

    Raises:
        UsageError: the other way round.
    """
    if head.texts and len(texts) != head.texts:
        got = _TEXTS.get(len(texts), f"{len(texts)} texts")
        raise UsageError(f"expected {_TEXTS[head.texts]}, as the model was trained on, got {got}")
    return texts
