"""A question answered by a span of a text: windows over a long text, and the best span of all of them.

Devlin et al. 2019 (section 4.2) and their code for SQuAD. Letters: T tokens of a window, N places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.errors import UsageError
from bothways.inference.examples import Encoded
from bothways.inference.words import composed
from bothways.text import Tokenizer

QUESTION, STRIDE, LONGEST, BEST = 64, 128, 30, 20
"""Tokens of a question at most; those that two windows share; those of an answer at most; candidates kept."""


@dataclass(frozen=True, slots=True)
class Span:
    """An answer: its text, where it stands in the context (characters), its chance among the best candidates.

    An empty text: the context does not say, start and end are 0. `margin` is how much better (in logits) the best span
    is than no answer.
    """

    text: str
    start: int
    end: int
    probability: float
    margin: float


def encode_question(
    tokenizer: Tokenizer, question: str, context: str, *, length: int, answer: tuple[int, int] | None = None
) -> list[Encoded]:
    """Windows of a question and a context; every token is a place, `of` the token of the context there, or -1.

    Windows share `STRIDE` tokens, so an answer that one cuts stands whole in the next. With an answer (from, to, in
    characters of the context; (0, 0): there is none), the labels [T, 2] mark its first and last token, or the first
    token of all in a window that does not hold it. A question is cut after `QUESTION` tokens: the first window's `cut`.

    Raises:
        UsageError: no room for the context beside the question, or for the answer in any window.
    """
    whole = np.array(tokenizer.encode(question), dtype=np.int32)
    asked = whole[:QUESTION]
    read, origin = composed(context)
    tokens, spans = tokenizer.encode_spans(read)
    room = tokenizer.frame.room(length, 2) - len(asked)
    if room < 1:
        raise UsageError(f"a question of {len(asked)} tokens leaves no room for its context in {length}")
    step = room - min(STRIDE, room // 2)
    ends = _tokens_of(origin[spans], answer) if answer and answer[1] > answer[0] else None
    held = False
    parts: list[Encoded] = []
    for begin in range(0, max(1, len(tokens) - (room - step)), step):
        shown = tokens[begin : begin + room]
        framed, segments, (_, at) = tokenizer.frame.around(asked, shown)
        of = np.full(len(framed), -1)
        of[at : at + len(shown)] = begin + np.arange(len(shown))
        labels = np.zeros((len(framed), 2), dtype=np.float32)
        if answer is not None:
            inside = ends is not None and begin <= ends[0] and ends[1] < begin + len(shown)
            held |= inside
            for column in (0, 1):
                labels[at + ends[column] - begin if inside and ends else 0, column] = 1.0
        cut = 0 if parts else len(whole) - len(asked)
        parts.append(Encoded(framed, segments, np.arange(len(framed)), labels, of, cut))
    if answer and answer[1] > answer[0] and not held:
        long = f"{ends[1] - ends[0] + 1} tokens, a window holds {room}" if ends else "no token of the tokenizer's"
        raise UsageError(f"no window holds the answer: it is {long}")
    return parts


def _tokens_of(spans: np.ndarray, answer: tuple[int, int]) -> tuple[int, int] | None:
    """The first and the last token of those that hold a character of the answer; None: no token does."""
    holding = np.flatnonzero((spans[:, 1] > answer[0]) & (spans[:, 0] < answer[1]))
    return (int(holding[0]), int(holding[-1])) if len(holding) else None


def best_span(
    tokenizer: Tokenizer, context: str, parts: Sequence[Encoded], logits: Sequence[np.ndarray], *, may_decline: bool
) -> Span:
    """The best span over all windows, or none where the model may decline and the first token says more.

    A token that stands in several windows may begin an answer only in the one where it has most context around it.
    """
    read, origin = composed(context)
    _, spans = tokenizer.encode_spans(read)
    places = origin[spans]  # in characters of the context
    owner = _widest(parts, len(spans))
    found: list[tuple[float, int, int]] = []
    declined = min(float(one[0].sum()) for one in logits)
    for number, (part, one) in enumerate(zip(parts, logits, strict=True)):
        inside = np.flatnonzero(part.of >= 0)
        begins = inside[owner[part.of[inside]] == number]
        for start in begins[np.argsort(-one[begins, 0])][:BEST]:
            stops = inside[(inside >= start) & (inside < start + LONGEST)]
            stop = stops[one[stops, 1].argmax()]
            found.append((float(one[start, 0] + one[stop, 1]), int(part.of[start]), int(part.of[stop])))
    found = sorted(found, reverse=True)[:BEST]
    if not found:
        return Span("", 0, 0, 1.0, 0.0)
    scores = np.array([score for score, _, _ in found] + ([declined] if may_decline else []))
    chance = np.exp(scores - scores.max())
    margin = found[0][0] - declined
    if may_decline and margin < 0:
        return Span("", 0, 0, float(chance[-1] / chance.sum()), margin)
    start, end = int(places[found[0][1], 0]), int(places[found[0][2], 1])
    while start < end and context[start].isspace():  # tokens of byte-level tokenizers begin with their space
        start += 1
    return Span(context[start:end], start, end, float(chance[0] / chance.sum()), margin)


def _widest(parts: Sequence[Encoded], count: int) -> np.ndarray:
    """[count] for each token of the context, the window where it has most on its poorer side."""
    best, owner = np.full(count, -np.inf), np.full(count, -1)
    for number, part in enumerate(parts):
        shown = part.of[part.of >= 0]
        left = np.arange(len(shown))
        width = np.minimum(left, left[::-1]) + 0.01 * len(shown)
        better = width > best[shown]
        best[shown[better]], owner[shown[better]] = width[better], number
    return owner
