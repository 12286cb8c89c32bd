"""The second question: what may each position see?

The pictures show six words, one row of `sees` for each: 1 where it may see the word of that column. The tests read
them. Only the order of steps counts, not their size, so a place's number in its document serves as its step.

Letters: T tokens in a row, S tokens once scaffolding is placed behind the text (S >= T).
"""

from __future__ import annotations

import numpy as np

from bothways.objectives.objective import Corrupted
from bothways.visibility import Layout, places


def together(corrupted: Corrupted, *, segments: tuple[int, int] = (0, 0)) -> Layout:
    """Every word of a document sees every other (BERT).

    text   a b c d e f
    step   0 0 0 0 0 0
    group  0 0 0 0 0 0
    sees   1 1 1 1 1 1
           1 1 1 1 1 1
           1 1 1 1 1 1
           1 1 1 1 1 1
           1 1 1 1 1 1
           1 1 1 1 1 1
    """
    position = places(corrupted.row.document)
    return _layout(corrupted, position, np.zeros_like(position), segments)


def left_to_right(corrupted: Corrupted, *, segments: tuple[int, int] = (0, 0)) -> Layout:
    """A word sees itself and what stands before it in its document (GPT).

    text   a b c d e f
    step   0 1 2 3 4 5
    group  0 0 0 0 0 0
    sees   1 0 0 0 0 0
           1 1 0 0 0 0
           1 1 1 0 0 0
           1 1 1 1 0 0
           1 1 1 1 1 0
           1 1 1 1 1 1
    """
    position = places(corrupted.row.document)
    return _layout(corrupted, position, position, segments)


def right_to_left(corrupted: Corrupted, *, segments: tuple[int, int] = (0, 0)) -> Layout:
    """A word sees itself and what stands behind it in its document.

    text   a b c d e f
    step   0 -1 -2 -3 -4 -5
    group  0 0 0 0 0 0
    sees   1 1 1 1 1 1
           0 1 1 1 1 1
           0 0 1 1 1 1
           0 0 0 1 1 1
           0 0 0 0 1 1
           0 0 0 0 0 1
    """
    position = places(corrupted.row.document)
    return _layout(corrupted, position, -position, segments)


def source_then_target(corrupted: Corrupted, *, segments: tuple[int, int] = (0, 0)) -> Layout:
    """The source sees all of itself; a word of the target sees the source, itself, and the target before it.

    text   a b c d e f
    part   0 0 0 1 1 1
    step   0 0 0 3 4 5
    group  0 0 0 0 0 0
    sees   1 1 1 0 0 0
           1 1 1 0 0 0
           1 1 1 0 0 0
           1 1 1 1 0 0
           1 1 1 1 1 0
           1 1 1 1 1 1
    """
    position = places(corrupted.row.document)
    return _layout(corrupted, position, np.where(corrupted.part > 0, position, 0), segments)


def side_by_side(corrupted: Corrupted, *, segments: tuple[int, int] = (0, 0)) -> Layout:
    """Both sides of a pair see each other, and positions restart with the second: a word and its translation have like
    places (TLM). `|` is the [SEP] that parts them: place 0 of the second side, as [CLS] is of the first.

    text      a b | d e f
    part      0 0 1 1 1 1
    position  0 1 0 1 2 3
    step      0 0 0 0 0 0
    group     0 0 0 0 0 0
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
    """
    position = places(2 * corrupted.row.document + corrupted.part)
    return _layout(corrupted, position, np.zeros_like(position), segments)


def with_scaffold(
    corrupted: Corrupted,
    at: np.ndarray,
    *,
    step: np.ndarray,
    group: np.ndarray | int = 1,
    hidden: np.ndarray | None = None,
) -> Layout:
    """[S]: the row and, behind it, scaffolding that stands in the places `at` [S - T] of the row: in their documents,
    at their positions, in their languages.

    step    [S]
    group   [S - T] of the scaffolding, or one number; the row is 0
    hidden  [T] of the row
    """
    row, behind = corrupted.row, len(at)
    place = np.append(np.arange(len(row)), at)
    document = row.document[place]
    document[len(row) :] -= np.where(document[len(row) :] < 0, len(row), 0)  # padding: documents of their own again
    return Layout.of(
        document=document,
        step=step,
        position=places(row.document)[place],
        group=np.append(np.zeros(len(row)), np.broadcast_to(group, behind)),
        hidden=None if hidden is None else np.pad(hidden, (0, behind)),
        language=None if row.language is None else row.language[place],
    )


def _layout(corrupted: Corrupted, position: np.ndarray, step: np.ndarray, segments: tuple[int, int]) -> Layout:
    """`segments`: of the source and of the target."""
    row, (source, target) = corrupted.row, segments
    segment = np.where(corrupted.part > 0, target, source) if any(segments) else None
    return Layout.of(document=row.document, step=step, position=position, segment=segment, language=row.language)
