"""What [CLS] predicts of the two halves of its document, beside the hidden words: nsp, sop.

A document is cut in two where a word begins, and becomes a pair. An objective sees one row and no other, so what does
not belong together comes out of the same row:

    row   [CLS] a b c d [SEP] [CLS] e f g h
    nsp   [CLS] a b [SEP] g h [SEP] [CLS] e f [SEP]       the two swapped their second halves: both [CLS] are 1
    sop   [CLS] c d [SEP] a b [SEP] [CLS] e f [SEP]       the first is in the wrong order: 1

For nsp documents are paired up at random, and the two of a pair swap or do not, so half of them are 1 and no text goes
elsewhere; one that is left over has no label, and a row of one document is first cut into two. The [SEP] of each cut
takes its room at the end of the row, whose last tokens are lost (here g and h; a document without its second half has
no label).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as but
from functools import partial

import numpy as np

from bothways.batch import Row, Target, Vocabulary
from bothways.model.heads.sentences import SentencesHead
from bothways.objectives.arrangements import together
from bothways.objectives.objective import Corrupted, Corruption, Objective, sides
from bothways.objectives.predictions import in_place
from bothways.visibility import Layout

FEWEST = 4  # tokens of text in a document that is cut


@dataclass(frozen=True, slots=True)
class Halves:
    """A document: the places of its text in the row, and what [CLS] predicts of it (None: nothing, it is not cut)."""

    first: np.ndarray
    second: np.ndarray
    label: int | None = None


Cut = Callable[[Sequence[np.ndarray], np.ndarray, np.random.Generator], list[Halves]]
"""The places of each document's text, and where words begin in the row -> its documents as halves."""


def nsp(documents: Sequence[np.ndarray], word_starts: np.ndarray, rng: np.random.Generator) -> list[Halves]:
    """Does the second half follow the first (0), or is it another document's (1)? (BERT, section 3.1)"""
    if len(documents) == 1 and len(documents[0]) >= 2 * FEWEST:
        documents = np.array_split(documents[0], 2)
    halves = [Halves(document, document[:0]) for document in documents]
    order = rng.permutation([i for i, document in enumerate(documents) if len(document) >= FEWEST])
    for one, other in order[: len(order) // 2 * 2].reshape(-1, 2).astype(int).tolist():
        (a, b), (c, d) = (_cut(documents[i], word_starts, rng) for i in (one, other))
        swapped = rng.random() < 0.5
        halves[one], halves[other] = (
            (Halves(a, d, 1), Halves(c, b, 1)) if swapped else (Halves(a, b, 0), Halves(c, d, 0))
        )
    return halves


def sop(documents: Sequence[np.ndarray], word_starts: np.ndarray, rng: np.random.Generator) -> list[Halves]:
    """Do the halves stand in order (0), or is the second before the first (1)? (ALBERT, section 3.1)"""
    halves = []
    for document in documents:
        if len(document) < FEWEST:
            halves.append(Halves(document, document[:0]))
            continue
        first, second = _cut(document, word_starts, rng)
        halves.append(Halves(second, first, 1) if rng.random() < 0.5 else Halves(first, second, 0))
    return halves


def _cut(document: np.ndarray, word_starts: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """At a random place where a word begins, or in the middle of a single word."""
    places = 1 + np.flatnonzero(word_starts[document[1:]])
    at = int(rng.choice(places)) if len(places) else len(document) // 2
    return document[:at], document[at:]


@dataclass(frozen=True, slots=True)
class InHalves:
    """Arranges a row's documents as halves, then hides words in it."""

    hide: Corruption
    cut: Cut
    vocabulary: Vocabulary

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row laid anew as halves, its words hidden, with what is asked of each two halves."""
        text = ~np.isin(row.tokens, (self.vocabulary.cls, self.vocabulary.sep))
        documents = [np.flatnonzero(text & (row.document == number)) for number in range(row.document.max() + 1)]
        halves = self.cut([document for document in documents if len(document)], row.word_starts, rng)
        again, targets = as_halves(row, halves, self.vocabulary)
        corrupted = self.hide(again, rng, progress)
        return but(corrupted, part=sides(again, self.vocabulary.sep), also=targets)


def as_halves(row: Row, halves: Sequence[Halves], vocabulary: Vocabulary) -> tuple[Row, tuple[Target, ...]]:
    """A row of the same length with its documents as halves, and the targets of their [CLS]."""
    place: list[np.ndarray] = []  # in the row, of each token; of specials, that of the token beside it
    special: list[np.ndarray] = []
    labelled: list[tuple[int, int, int]] = []
    length = 0
    for one in halves:
        parts = [half for half in (one.first, one.second) if len(half)]
        if one.label is not None and length + len(one.first) + 2 < len(row):
            labelled.append((length, one.label, min(len(row) - length, len(one.first) + len(one.second))))
        place += [parts[0][:1], *(np.append(half, half[-1]) for half in parts)]
        special += [np.array([vocabulary.cls]), *(np.append(np.full(len(half), -1), vocabulary.sep) for half in parts)]
        length = sum(map(len, place))
    missing = max(0, len(row) - length)
    at = np.concatenate([*place, np.zeros(missing, dtype=np.int64)])[: len(row)].astype(np.int64)
    marks = np.concatenate([*special, np.full(missing, vocabulary.pad)])[: len(row)]
    document = np.cumsum(marks == vocabulary.cls, dtype=np.int32) - 1
    document[len(row) - missing :] = -1 - np.arange(missing, dtype=np.int32)
    again = Row(
        tokens=np.where(marks >= 0, marks, row.tokens[at]).astype(np.int32),
        document=document,
        word_starts=row.word_starts[at] | (marks >= 0) | np.append(True, marks[:-1] >= 0),
        language=None if row.language is None else row.language[at],
    )
    if not labelled:
        return again, ()
    where, labels, weights = (np.array(column) for column in zip(*labelled, strict=True))
    return again, (Target("sentences", where, labels, weights.astype(np.float32), name="sentences"),)


def _with_halves(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    return (*in_place(corrupted, layout), *corrupted.also)


def _with_sentences(cut: Cut, words: Objective, vocabulary: Vocabulary) -> Objective:
    """An objective that hides words, with the question about sentences beside it; both count alike in the loss."""
    return but(
        words,
        corrupt=InHalves(words.corrupt, cut, vocabulary),
        arrange=partial(together, segments=(0, 1)),
        predict=_with_halves,
        heads={"sentences": SentencesHead},
        names=(words.name, "sentences"),
        segments=2,
        about=but(
            words.about,
            summary=f"{words.about.summary}; and at [CLS], whether its two halves belong together ({cut.__name__})",
            differs="halves are cut where a word begins, not a sentence, and swapped within a row; "
            "no span boundary objective; the rate is exact for long words too",
        ),
    )


SENTENCES: dict[str, Callable[[Objective, Vocabulary], Objective] | None] = {
    "none": None,
    "nsp": partial(_with_sentences, nsp),
    "sop": partial(_with_sentences, sop),
}
"""What [CLS] may predict; none: nothing."""
