"""A question and a text that may hold its answer: the answer is a span of the text, or none where some have none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bothways.errors import UsageError
from bothways.inference.examples import Encoded
from bothways.inference.spans import best_span, encode_question
from bothways.inference.words import composed, found_in
from bothways.model import Answers
from bothways.tasks.records import BadField, Columns
from bothways.tasks.squad import exact, f1
from bothways.tasks.task import Example, Heard, Task
from bothways.text import Tokenizer


class Answer(Task):
    """Records hold question, context and answers, [{"text": ..., "start": ...}] with start in characters, or SQuAD's
    {"text": [...], "answer_start": [...]}; no answers at all: the context does not say."""

    name, metric, items_say = "answer", "f1", "how much of the right answer is in theirs and the other way round (F1)"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        return ("question", "context", "answers") if gold else ("question", "context"), ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        question, context = columns.text(record, "question"), columns.text(record, "context")
        try:
            composed(context)
        except UsageError as error:
            raise BadField(columns.names["context"], str(error).removeprefix("expected ")) from None
        answers = None
        if gold:
            column = columns.names["answers"]
            answers = tuple(_placed(one, context, column) for one in _listed(columns.value(record, "answers"), column))
        return Example(columns.id(record, number), (question, context), answers, place)

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        declines = any(not example.gold for example in examples)
        return Answers(self.name, "span", ("start", "end"), "span or none" if declines else "span", reads)

    def check(self, example: Example, answers: Answers) -> str | None:
        if not example.gold and answers.kind == "span":
            return "no answer, and the model was trained on questions that all have one"
        return None

    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        question, context = example.texts
        answer = None
        if example.gold is not None:  # the first of several right ones is learned
            text, start = example.gold[0] if example.gold else ("", 0)
            answer = (start, start + len(text))
        return encode_question(tokenizer, question, context, length=length, answer=answer)

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        declines = heard.answers.kind == "span or none"
        found = best_span(heard.tokenizer, example.texts[1], heard.parts, heard.logits, may_decline=declines)
        return asdict(found)

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        golds = [[text for text, _ in example.gold] for example in examples]
        texts = [one["text"] for one in said]
        return {
            "f1": float(np.mean([f1(text, right) for text, right in zip(texts, golds, strict=True)])),
            "exact": float(np.mean([exact(text, right) for text, right in zip(texts, golds, strict=True)])),
        }

    def items(
        self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers
    ) -> tuple[np.ndarray, np.ndarray]:
        golds = ([text for text, _ in example.gold] for example in examples)
        found = [f1(one["text"], right) for one, right in zip(said, golds, strict=True)]
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
