"""Examples of a fine-tuning task as tokens, laid several in a row: nothing is padded that need not be.

Letters: T tokens, N places, C labels, E examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bothways.batch import Batch, Sample, Target
from bothways.inference.words import Words
from bothways.model import Answers
from bothways.text import Tokenizer
from bothways.visibility import Layout

GROUPED = ("choice", "span", "span or none")
"""Kinds of answers whose targets share a softmax: the places of a window, the choices of a question."""
ROOMS = range(64, 97, 8)
"""Tokens in a row; where an example is longer, every row has room for as many as it has, since rows are stacked."""
COST = 1024
"""What a place costs beside its attention to one other."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example, or a part of a long one.

    tokens    int32 [T]
    segments  int32 [T]
    at        [N] where something is to be said: at the beginning for a label, at the first tokens of words for tags;
              [1, 5] for a relation
    labels    [N] or [N, C] the right answers; zeros where nobody knows them
    of        [N] what is answered there: 0 for a label, the number of the word for tags
    cut       how many tokens were left out, since the model reads no more
    """

    tokens: np.ndarray
    segments: np.ndarray
    at: np.ndarray
    labels: np.ndarray
    of: np.ndarray
    cut: int = 0

    def __len__(self) -> int:
        return len(self.tokens)


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], *, length: int) -> Encoded:
    """One text or two in the tokenizer's own frame; what is too much is cut off the end of the longer one."""
    tokens = [np.array(tokenizer.encode(text), dtype=np.int32) for text in texts]
    room, whole = tokenizer.frame.room(length, len(texts)), sum(map(len, tokens))
    for _ in range(max(0, whole - room)):  # one by one: the longer one changes
        longer = max(range(len(tokens)), key=lambda side: len(tokens[side]))
        tokens[longer] = tokens[longer][:-1]
    framed, segments, _ = tokenizer.frame.around(*tokens)
    if not len(framed):
        framed, segments = np.array(tokenizer.nothing, dtype=np.int32), np.zeros(1, dtype=np.int32)
    here = np.zeros(1, dtype=np.int64)
    return Encoded(framed, segments, here, here, here, max(0, whole - room))


def encode_words(tokenizer: Tokenizer, words: Words, *, length: int) -> list[Encoded]:
    """The parts of a text that has words.

    A text longer than the model reads is parted before a word, so none is left out. A word of which no token is left
    (tokenizers drop some characters) has no place.
    """
    tokens, covered = tokenizer.encode_spans(words.read)
    if words.exact:
        tokens, covered = _parted(tokenizer, words, tokens, covered)
    if not len(tokens):
        return []
    spans = words.spans
    first = np.searchsorted(covered[:, 1], spans[:, 0], side="right")  # the first token that ends behind its beginning
    first = np.minimum(first, len(tokens) - 1)
    known = np.flatnonzero((covered[first, 0] < spans[:, 1]) & (covered[first, 1] > spans[:, 0]))
    starts, room = first[known], tokenizer.frame.room(length, 1)
    parts, begin = [], 0
    while begin < len(tokens):
        end = begin + room
        if end < len(tokens):
            fitting = starts[(starts > begin) & (starts <= end)]
            end = int(fitting[-1]) if len(fitting) else end
        inside = (starts >= begin) & (starts < end)
        framed, segments, (opening,) = tokenizer.frame.around(tokens[begin:end])
        at = starts[inside] - begin + opening
        parts.append(Encoded(framed, segments, at, np.zeros_like(at), known[inside]))
        begin = end
    return parts


def _parted(
    tokenizer: Tokenizer, words: Words, tokens: np.ndarray, covered: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens, and what they cover, where those that hold characters of two words are spelt word by word."""
    bounds = np.unique(words.spans)
    found: list[int] = []
    places: list[tuple[int, int]] = []
    for token, (start, end) in zip(tokens.tolist(), covered.tolist(), strict=True):
        inside = bounds[np.searchsorted(bounds, start, side="right") : np.searchsorted(bounds, end)].tolist()
        cuts = [cut for cut in inside if not words.read[cut - 1].isspace()]  # white space belongs to what follows
        if not cuts:
            found.append(token)
            places.append((start, end))
            continue
        for begin, stop in pairwise([start, *cuts, end]):
            within = not words.read[begin].isspace() if begin > start else tokenizer.is_inside(token)
            spelt = tokenizer.spelling(words.read[begin:stop], inside=within)
            found += spelt
            places += [(begin, stop)] * len(spelt)
    return np.array(found, dtype=np.int32), np.array(places, dtype=np.int64).reshape(-1, 2)


def rows_of(lengths: Sequence[int]) -> list[list[int]]:
    """The numbers of the examples of every row; rows are as long as makes the batch cheapest."""
    longest = max(lengths)
    found = [(rows_within(lengths, room), room) for room in ROOMS if room >= longest]
    found = found or [(rows_within(lengths, longest), longest)]
    return min(found, key=lambda one: len(one[0]) * one[1] * (COST + one[1]))[0]


def rows_within(lengths: Sequence[int], room: int) -> list[list[int]]:
    """The longest first, each into the first row that has room left."""
    rows: list[list[int]] = []
    left: list[int] = []
    for number in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        row = next((row for row, space in enumerate(left) if space >= lengths[number]), None)
        if row is None:
            row = len(rows)
            rows.append([])
            left.append(room)
        rows[row].append(number)
        left[row] -= lengths[number]
    return rows


@dataclass(frozen=True, slots=True)
class Laid:
    """A batch, and which places of which examples its targets are, in order.

    owner  [N] the number of the example of each target
    """

    batch: Batch
    owner: np.ndarray


def lay(
    examples: Sequence[Encoded],
    answers: Answers,
    *,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Laid:
    """All examples as one batch.

    Args:
        weights: [E] of the examples' targets; left out, 1.
        groups: [E] examples of one number share a softmax; left out, each has its own. A group weighs as one.
    """
    weights = np.ones(len(examples)) if weights is None else weights
    groups = np.arange(len(examples)) if groups is None else groups
    if answers.kind in GROUPED:
        places = np.bincount(groups, weights=[len(example.at) for example in examples])
        weights = weights / places[groups]
    samples, owner = [], []
    for row in rows_of([len(example) for example in examples]):
        samples.append(_sample([examples[i] for i in row], answers, weights[row], groups[row]))
        owner += [np.repeat(i, len(examples[i].at)) for i in row]
    return Laid(Batch.stack(samples), np.concatenate(owner))


def _sample(examples: Sequence[Encoded], answers: Answers, weights: np.ndarray, groups: np.ndarray) -> Sample:
    lengths = [len(example) for example in examples]
    begins = np.concatenate([[0], np.cumsum(lengths)])
    document = np.repeat(np.arange(len(examples)), lengths)
    position = np.arange(begins[-1]) - np.repeat(begins[:-1], lengths)
    layout = Layout.of(
        document=document,
        step=position if answers.reads == "decoder" else np.zeros_like(position),
        position=position,
        segment=np.concatenate([example.segments for example in examples]),
    )
    counts = [len(example.at) for example in examples]
    target = Target(
        answers.head,
        at=np.concatenate([example.at + begin for example, begin in zip(examples, begins, strict=False)]),
        labels=np.concatenate([example.labels for example in examples]),
        weight=np.repeat(weights, counts).astype(np.float32),
        name=answers.task,
        group=np.repeat(groups, counts),
    )
    return Sample(np.concatenate([example.tokens for example in examples]), layout, (target,))
