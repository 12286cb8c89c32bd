"""A question and a text that may hold its answer: the answer is a span of the text, or none where some have none.

A long text is read in windows (Devlin et al. 2019, section 4.2, and their code for SQuAD). Letters: T tokens of a
window, N places.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks.encoding import Encoded
from bothways.tasks.records import BadField, Columns
from bothways.tasks.squad import exact, f1
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside
from bothways.tasks.words import composed, found_in
from bothways.text import Tokenizer

QUESTION, STRIDE, LONGEST, BEST = 64, 128, 30, 20
"""Tokens of a question at most; those that two windows share; those of an answer at most, unless longer ones were
trained; candidates kept."""


@dataclass(frozen=True, slots=True)
class Span:
    """An answer: its text, where it stands in the context (characters), its chance among the best candidates.

    An empty text: the context holds none, start and end are 0. `margin` is how much better (in logits) the best span
    is than no answer.
    """

    text: str
    start: int
    end: int
    probability: float
    margin: float


class Answer(Task):
    """Records hold question, context and answers, [{"text": ..., "start": ...}] with start in characters, or SQuAD's
    {"text": [...], "answer_start": [...]}; no answers at all: the context holds none."""

    name, metric, items_say = "answer", "f1", "how much of the right answer is in theirs and the other way round (F1)"

    def limit(self, length: int) -> str:
        """In words: the question is what may be cut, a context is read in parts."""
        return f"the {QUESTION} tokens of a question that the model reads"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """question, context, and where gold is known answers."""
        return ("question", "context", "answers") if gold else ("question", "context"), ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A question and its context; gold is ((text, start in characters), ...), empty where there is none."""
        question, context = columns.text(record, "question"), columns.text(record, "context")
        with BadField.of(columns.names["context"]):
            composed(context)
        gold_spans = None
        if gold:
            column = columns.names["answers"]
            gold_spans = tuple(
                _placed(one, context, column) for one in _listed(columns.value(record, "answers"), column)
            )
        return Example(columns.id(record, number), (question, context), gold_spans, place, sealed=(context,))

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """A span's start and end; one that may decline where some questions have no answer, and as long as the longest
        that is learned."""
        declines = any(not example.gold for example in examples)
        longest = max((len(example.gold[0][0]) for example in examples if example.gold), default=0)
        kind: Any = "span or none" if declines else "span"
        return TaskHead(self.name, "span", ("start", "end"), kind, reads, longest_characters=longest)

    def check(self, example: Example, head: TaskHead) -> str | None:
        """A question without an answer is nothing for a model that never declines."""
        if not example.gold and head.kind == "span":
            return "no answer, and the model was trained on questions that all have one"
        return None

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The question with parts of the context that overlap; the first of several right answers is learned."""
        question, context = example.texts
        answer = None
        if example.gold is not None:  # the first of several right ones is learned
            text, start = example.gold[0] if example.gold else ("", 0)
            answer = (start, start + len(text))
        return encode_question(tokenizer, question, context, head, length=length, answer=answer)

    def decode(self, example: Example, output: Output) -> Span:
        """The best span of all parts, or none."""
        declines, longest = output.head.kind == "span or none", output.head.longest_characters
        context, read = example.texts[1], output.samples
        return best_span(output.tokenizer, context, read, output.logits, may_decline=declines, longest=longest)

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A span that is none of the right ones, by its probability."""
        golds = [text for text, _ in example.gold]
        if exact(prediction["text"], golds):
            return None
        shown = beside(" / ".join(golds) or "no answer", prediction["text"] or "no answer")
        return prediction["probability"], shown

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """f1 over words and exact match as SQuAD's script counts them, in shares."""
        golds = [[text for text, _ in example.gold] for example in examples]
        texts = [one["text"] for one in predictions]
        return {
            "f1": float(np.mean([f1(text, right) for text, right in zip(texts, golds, strict=True)])),
            "exact": float(np.mean([exact(text, right) for text, right in zip(texts, golds, strict=True)])),
        }

    def items(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> tuple[np.ndarray, np.ndarray]:
        """The f1 of each example, with weight 1."""
        golds = ([text for text, _ in example.gold] for example in examples)
        found = [f1(one["text"], right) for one, right in zip(predictions, golds, strict=True)]
        return np.array(found), np.ones(len(found))


def _listed(value: Any, column: str) -> list[Any]:
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        starts = value.get("answer_start", [])
        if not isinstance(starts, list) or len(starts) != len(value["text"]):
            raise BadField(column, f"as many answer_start as text, got {value!r:.80}")
        return [{"text": text, "start": start} for text, start in zip(value["text"], starts, strict=True)]
    if isinstance(value, str):  # as a table has it: a text of the context, or none
        return [{"text": value}] if value.strip() else []
    if not isinstance(value, list):
        raise BadField(column, f"a list of answers, got {value!r:.80}")
    return value


def _placed(answer: Any, context: str, column: str) -> tuple[str, int]:
    """(its text, where it begins)."""
    try:
        text, start = str(answer["text"]), int(answer.get("start", answer.get("answer_start", -1)))
    except (TypeError, KeyError, ValueError, AttributeError):
        raise BadField(column, f"text and start, got {answer!r:.80}") from None
    place = found_in(context, text, start=start if start >= 0 else None)
    if place is None:
        where = f" at {start}" if start >= 0 else ""
        raise BadField(column, f"an answer that stands in its context{where}, got {text!r:.80}")
    return context[slice(*place)], place[0]


def encode_question(
    tokenizer: Tokenizer,
    question: str,
    context: str,
    head: TaskHead,
    *,
    length: int,
    answer: tuple[int, int] | None = None,
) -> list[Sample]:
    """Windows of a question and a context; every token is a place, `of` the token of the context there, or -1.

    Windows share `STRIDE` tokens, so an answer that one cuts stands whole in the next. With an answer (from, to, in
    characters of the context; (0, 0): there is none), the labels [T, 2] mark its first and last token, or the first
    token of all in a window that does not hold it; one that is longer than what they share, and cut by each, has a
    window more. A question is cut after `QUESTION` tokens: the first window's `cut`.

    Raises:
        UsageError: no room for the context beside the question, or for the answer in a window.
    """
    whole = np.array(tokenizer.encode(question), dtype=np.int32)
    kept = whole[:QUESTION]
    read, origin = composed(context)
    tokens, spans = tokenizer.encode_spans(read)
    room = tokenizer.frame.room(length, 2) - len(kept)
    if room < 1:
        raise UsageError(f"a question of {len(kept)} tokens leaves no room for its context in {length}")
    step = room - min(STRIDE, room // 2)
    ends = _tokens_of(origin[spans], answer) if answer and answer[1] > answer[0] else None
    begins = [*range(0, max(1, len(tokens) - (room - step)), step)]
    held = ends is not None and any(begin <= ends[0] and ends[1] < begin + room for begin in begins)
    if ends and not held and (spare := room - (ends[1] + 1 - ends[0])) >= 0:
        begins.append(max(0, min(ends[0] - spare // 2, len(tokens) - room)))  # with as much before it as behind
        held = True
    parts: list[Sample] = []
    for begin in begins:
        shown = tokens[begin : begin + room]
        framed, segments, (_, at) = tokenizer.frame.around(kept, shown)
        of = np.full(len(framed), -1)
        of[at : at + len(shown)] = begin + np.arange(len(shown))
        labels = np.zeros((len(framed), 2), dtype=np.float32)
        if answer is not None:
            inside = ends is not None and begin <= ends[0] and ends[1] < begin + len(shown)
            for column in (0, 1):
                labels[at + ends[column] - begin if inside and ends else 0, column] = 1.0
        cut = 0 if parts else len(whole) - len(kept)
        encoded = Encoded(framed, segments, np.arange(len(framed)), of, cut)
        parts.append(encoded.sample(head, labels, group=len(parts), weight=1 / len(framed)))
    if answer and answer[1] > answer[0] and not held:
        long = f"{ends[1] - ends[0] + 1} tokens, a window holds {room}" if ends else "no token of the tokenizer's"
        raise UsageError(f"no window holds the answer: it is {long}")
    return parts


def _tokens_of(spans: np.ndarray, answer: tuple[int, int]) -> tuple[int, int] | None:
    """The first and the last token of those that hold a character of the answer; None: no token does."""
    holding = np.flatnonzero((spans[:, 1] > answer[0]) & (spans[:, 0] < answer[1]))
    return (int(holding[0]), int(holding[-1])) if len(holding) else None


def best_span(
    tokenizer: Tokenizer,
    context: str,
    parts: Sequence[Sample],
    logits: Sequence[np.ndarray],
    *,
    may_decline: bool,
    longest: int = 0,
) -> Span:
    """The best span over all windows, or none where the model may decline and the first token is likelier. A span has
    `LONGEST` tokens at most, or `longest` characters, those of the longest that was trained.

    A token that stands in several windows may begin an answer only in the one where it has most context around it.
    """
    read, origin = composed(context)
    _, spans = tokenizer.encode_spans(read)
    places = origin[spans]  # in characters of the context
    tokens_of = [np.asarray(part.targets[0].of) for part in parts]
    owner = _widest(tokens_of, len(spans))
    found: list[tuple[float, int, int]] = []
    declined = min(float(one[0].sum()) for one in logits)
    for number, (of, one) in enumerate(zip(tokens_of, logits, strict=True)):
        inside = np.flatnonzero(of >= 0)
        begins = inside[owner[of[inside]] == number]
        for start in begins[np.argsort(-one[begins, 0])][:BEST]:
            stops = inside[inside >= start]
            size = places[of[stops], 1] - places[of[start], 0] - 1  # it may begin with the space before it
            stops = stops[(stops < start + LONGEST) | (size <= longest)]
            stop = stops[one[stops, 1].argmax()]
            found.append((float(one[start, 0] + one[stop, 1]), int(of[start]), int(of[stop])))
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


def _widest(tokens_of: Sequence[np.ndarray], count: int) -> np.ndarray:
    """[count] for each token of the context, the window where it has most on its poorer side."""
    best, owner = np.full(count, -np.inf), np.full(count, -1)
    for number, of in enumerate(tokens_of):
        shown = of[of >= 0]
        left = np.arange(len(shown))
        width = np.minimum(left, left[::-1]) + 0.01 * len(shown)
        better = width > best[shown]
        best[shown[better]], owner[shown[better]] = width[better], number
    return owner
