"""The third question: what are the targets, where, through which head?

The same few serve every objective: the corruption has chosen which are targets, the prediction gives from
where. A word is never predicted from another document, nor by padding. In the pictures, a word of `predicts` stands
under the place that predicts it; the tests read them.
"""

from __future__ import annotations

import numpy as np

from bothways.batch import Target
from bothways.objectives.objective import Corrupted
from bothways.visibility import Layout


def in_place(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """A chosen word is predicted in its own place, where a masked language model is read.

    text      a b c d e f
    chosen    0 0 1 0 1 0
    predicts  . . c . e .
    """
    at = np.flatnonzero(corrupted.chosen)
    return _words(corrupted, at, at)


def from_before(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """A chosen word is predicted one place before its own, where a causal language model is read.

    text      a b c d e f
    chosen    1 0 1 0 1 1
    predicts  . c . e f .
    """
    at = np.flatnonzero(corrupted.chosen[1:] & _joined(corrupted))
    return _words(corrupted, at, at + 1)


def from_behind(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """A chosen word is predicted one place behind its own: causal, the other way round.

    text      a b c d e f
    chosen    1 0 1 0 1 1
    predicts  . a . c . e
    """
    at = np.flatnonzero(corrupted.chosen[:-1] & _joined(corrupted)) + 1
    return _words(corrupted, at, at - 1)


def by_scaffold(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """A chosen word is predicted behind the row, where scaffolding stands for each of them, in their order."""
    return behind_row(corrupted, np.flatnonzero(corrupted.chosen))


def original_or_replaced(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """Of every chosen token, whether it stands where it stood (0) or was replaced (1); by the head `replaced`.

    What ELECTRA's generator puts there is drawn within the step, so there the loss compares (`electra`).
    """
    at = np.flatnonzero(corrupted.chosen)
    labels = corrupted.tokens[at] != corrupted.row.tokens[at]
    return (Target("replaced", at, labels.astype(np.int64), corrupted.weight),)


def behind_row(corrupted: Corrupted, answers: np.ndarray) -> tuple[Target, ...]:
    """The words of the places `answers` [N], predicted by the N tokens behind the row."""
    return _words(corrupted, len(corrupted.row) + np.arange(len(answers)), answers)


def _joined(corrupted: Corrupted) -> np.ndarray:
    """[T - 1] bool: this place and the next are of one document."""
    document = corrupted.row.document
    return np.asarray(document[1:] == document[:-1])


def _words(corrupted: Corrupted, at: np.ndarray, answers: np.ndarray) -> tuple[Target, ...]:
    weight = corrupted.weight[answers] if isinstance(corrupted.weight, np.ndarray) else corrupted.weight
    return (Target("words", at, corrupted.row.tokens[answers], weight),)
