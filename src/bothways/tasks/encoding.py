"""Texts and words as tokens in the tokenizer's own template, with the places where something is predicted.

Letters: T tokens, N places, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bothways.batch import Sample, Target
from bothways.model import TaskHead
from bothways.tasks.words import Words
from bothways.text import Tokenizer
from bothways.visibility import Layout


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text, or a part of a long one, as a model reads it.

    tokens    int32 [T]
    segments  int32 [T]
    at        [N, ...] the places that a head reads, see `model.heads`: the first and last token of a text [1, 2], the
              first tokens of words [N]
    of        [N] what is predicted there: 0 for a text, the number of the word for tags
    cut       how many tokens were left out, since the model reads no more
    """

    tokens: np.ndarray
    segments: np.ndarray
    at: np.ndarray
    of: np.ndarray
    cut: int = 0

    def sample(self, head: TaskHead, labels: Any = None, *, group: int | None = None, weight: float = 1.0) -> Sample:
        """With one target.

        Args:
            labels: [N] or [N, C]; None: nobody knows them.
            group: of all its places, which share a softmax with those of other samples of the example.
            weight: of each place.
        """
        count = len(self.at)
        position = np.arange(len(self.tokens))
        layout = Layout.of(
            document=np.zeros_like(position),
            step=position if head.reads == "decoder" else np.zeros_like(position),
            position=position,
            segment=self.segments,
        )
        target = Target(
            head.name,
            at=self.at,
            labels=np.zeros(count, dtype=np.int64) if labels is None else np.asarray(labels),
            weight=np.full(count, weight),
            name=head.name if head.name != head.head else head.task,
            group=None if group is None else np.full(count, group),
            of=self.of,
        )
        return Sample(self.tokens, layout, (target,), self.cut)


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], *, length: int, apart: bool = False) -> Encoded:
    """One text or two in the tokenizer's own frame; what is too much is cut off the end of the longer one.

    Args:
        apart: a head reads where each text begins and ends, specials left out: [1, 2 times the texts].
    """
    tokens = [np.array(tokenizer.encode(text), dtype=np.int32) for text in texts]
    room, whole = tokenizer.frame.room(length, len(texts)), sum(map(len, tokens))
    for _ in range(max(0, whole - room)):  # one by one: the longer one changes
        longer = max(range(len(tokens)), key=lambda side: len(tokens[side]))
        tokens[longer] = tokens[longer][:-1]
    framed, segments, openings = tokenizer.frame.around(*tokens)
    if not len(framed):
        framed, segments = np.array(tokenizer.nothing, dtype=np.int32), np.zeros(1, dtype=np.int32)
    ends = np.array([[0, len(framed) - 1]])
    if apart:  # a text without a token is the special behind it
        sides = [(begin, begin + max(1, len(some)) - 1) for begin, some in zip(openings, tokens, strict=True)]
        ends = np.minimum(np.array([np.concatenate(sides)]), len(framed) - 1)
    return Encoded(framed, segments, ends, np.zeros(1, dtype=np.int64), max(0, whole - room))


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
        parts.append(Encoded(framed, segments, at, known[inside]))
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
            within = not words.read[begin].isspace() if begin > start else tokenizer.goes_on(token)
            spelt = tokenizer.spelling(words.read[begin:stop], inside=within)
            found += spelt
            places += [(begin, stop)] * len(spelt)
    return np.array(found, dtype=np.int32), np.array(places, dtype=np.int64).reshape(-1, 2)
