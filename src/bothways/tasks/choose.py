"""One of several texts: the answer to a question, the ending of a story. Each is given a number, the highest wins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bothways.errors import DataError
from bothways.inference.examples import Encoded
from bothways.inference.labelling import choice_of, encode_choices
from bothways.model import Answers
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example, Heard, Task, file_of
from bothways.text import Tokenizer


class Choose(Task):
    """Records hold question, choices and, if there is one, context; answer: the number of the right choice, from 0, or
    its text."""

    name, metric = "choose", "accuracy"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        return ("question", "choices", "answer") if gold else ("question", "choices"), ("context", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        column = columns.names["choices"]
        choices: Any = columns.value(record, "choices")
        several = isinstance(choices, list) and len(choices) > 1
        if not several or not all(isinstance(one, str) and one.strip() for one in choices):
            raise BadField(column, f"two texts or more to choose from, got {choices!r:.80}")
        right = None
        if gold:
            said = record.get(columns.names["answer"])
            right = choices.index(said) if said in choices else said
            right = int(right) if isinstance(right, str) and right.isdecimal() else right  # as a table has it
            if not isinstance(right, int) or isinstance(right, bool) or not 0 <= right < len(choices):
                raise BadField(columns.names["answer"], f"one of the choices or its number, from 0, got {said!r:.80}")
        before = _context(columns.value(record, "context"), columns) if "context" in columns.names else ""
        texts = (before, columns.text(record, "question"), *choices)
        return Example(columns.id(record, number), texts, right, place)

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        if len({example.gold for example in examples}) < 2:
            raise DataError(f"{file_of(examples)}: expected right answers at different places, got them all at one")
        return Answers(self.name, "label", ("choice",), "choice", reads)

    def check(self, example: Example, answers: Answers) -> str | None:
        return None

    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        context, question, *choices = example.texts
        parts = encode_choices(tokenizer, context, question, choices, length=length)
        if example.gold is None:
            return parts
        right = [np.array([[float(number == example.gold)]], dtype=np.float32) for number in range(len(parts))]
        return [replace(part, labels=label) for part, label in zip(parts, right, strict=True)]

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        found = choice_of(np.array([one[0, 0] for one in heard.logits]))
        return {"choice": found.choice, "text": example.texts[2 + found.choice], "probabilities": found.probabilities}

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        right = [one["choice"] == example.gold for example, one in zip(examples, said, strict=True)]
        return {"accuracy": float(np.mean(right))}


def _context(value: Any, columns: Columns) -> str:
    """A text, or the turns of a dialogue as one; nothing where there is none."""
    lines = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(line, str) for line in lines):
        raise BadField(columns.names["context"], f"a text, or a list of them, got {value!r:.80}")
    return "\n".join(line for line in lines if line.strip())
