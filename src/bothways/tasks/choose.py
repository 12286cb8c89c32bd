"""One of several texts: the answer to a question, the ending of a story. Each is given a number, the highest wins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import DataError, UsageError
from bothways.model import TaskHead
from bothways.tasks.encoding import encode_texts
from bothways.tasks.labels import label_name
from bothways.tasks.predictions import softmax
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside, file_of
from bothways.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Choice:
    """The number of the choice, from 0, its text, and the probability of each."""

    choice: int
    text: str
    probabilities: list[float]


class Choose(Task):
    """Records hold question, choices and, if there is one, context; answer: the number of the right choice, from 0, or
    its text."""

    name, metric, key = "choose", "accuracy", "choice"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """question, choices, and where gold is known answer; context if there is one."""
        return ("question", "choices", "answer") if gold else ("question", "choices"), ("context", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A question with two choices or more; gold is the number of the right one, from 0."""
        column = columns.names["choices"]
        choices: Any = columns.value(record, "choices")
        several = isinstance(choices, list) and len(choices) > 1
        if not several or not all(isinstance(one, str) and one.strip() for one in choices):
            raise BadField(column, f"two texts or more to choose from, got {choices!r:.80}")
        right = None
        if gold:
            value = record.get(columns.names["answer"])
            names, name = [label_name(one) for one in choices], label_name(value)
            if isinstance(value, str) and name in names:
                right = names.index(name)
            elif name in (numbers := [str(number) for number in range(len(choices))]):
                right = numbers.index(name)  # a table has it as text, pandas as 1.0
            else:
                raise BadField(columns.names["answer"], f"one of the choices or its number, from 0, got {value!r:.80}")
        before = _context(columns.value(record, "context"), columns) if "context" in columns.names else ""
        texts = (before, columns.text(record, "question"), *choices)
        return Example(columns.id(record, number), texts, right, place, sealed=(before,) if before else ())

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """One logit for each choice."""
        if len({example.gold for example in examples}) < 2:
            raise DataError(f"{file_of(examples)}: expected right answers at different places, got them all at one")
        return TaskHead(self.name, "label", ("choice",), "choice", reads)

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """Of a question, its choices and what is known, which may be nothing."""
        question, choices, context = inputs
        if len(choices) < 2:
            raise UsageError(f"expected two choices or more, got {len(choices)}")
        return Example(0, (context, question, *choices), None, "")

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """A pair for each choice: what is known, and the question with the choice."""
        context, question, *choices = example.texts
        pairs = [(context, f"{question} {one}") if context else (question, one) for one in choices]
        right = [None if example.gold is None else [[np.float32(i == example.gold)]] for i in range(len(pairs))]
        return [
            encode_texts(tokenizer, pair, length=length).sample(head, label, group=0, weight=1 / len(pairs))
            for pair, label in zip(pairs, right, strict=True)
        ]

    def decode(self, example: Example, output: Output) -> Choice:
        """The choice of the highest logit, and the probabilities of all."""
        logits = np.array([one[0, 0] for one in output.logits])
        best = int(logits.argmax())
        return Choice(best, example.texts[2 + best], softmax(logits).astype(float).tolist())

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A wrong choice, by its probability."""
        if prediction["choice"] == example.gold:
            return None
        sure = prediction["probabilities"][prediction["choice"]]
        return sure, beside(example.texts[2 + example.gold], prediction["text"])

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """The share of right choices."""
        return {"accuracy": float(self.right(examples, predictions).mean())}


def _context(value: Any, columns: Columns) -> str:
    """A text, or the turns of a dialogue as one; nothing where there is none."""
    lines = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(line, str) for line in lines):
        raise BadField(columns.names["context"], f"a text, or a list of them, got {value!r:.80}")
    return "\n".join(line for line in lines if line.strip())
