"""What somebody wants, and what they say about it: an intent for the text and a slot for every word, in one pass.

One head says both, as transformers' class for tags has it: the intent where the text begins, the slots at the words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bothways.inference.examples import Encoded
from bothways.inference.intents import INTENT, encode_intent, intended
from bothways.inference.schemes import Scheme, scheme_of
from bothways.inference.words import Words
from bothways.model import Answers
from bothways.tasks.labels import label_name
from bothways.tasks.records import BadField, Columns
from bothways.tasks.tag import Tag
from bothways.tasks.task import Example, Heard, Task
from bothways.text import Tokenizer


class Intent(Tag):
    """Records as those of `Tag`, with an intent. An example's gold are the slots, and behind them the intent."""

    name, metric, items_say = "intent", "whole", "of how many texts the intent and all slots are right"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        needed, optional = super().roles(fields, gold=gold)
        return ((*needed, "intent") if gold else needed), optional

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        example = super().read(record, columns, place=place, number=number, gold=gold)
        if not gold:
            return example
        intent = label_name(record.get(columns.names["intent"]))
        if intent is None:
            raise BadField(columns.names["intent"], f"the name of an intent, got {record[columns.names['intent']]!r}")
        return replace(example, gold=(*example.gold, INTENT + intent))

    def slots(self, gold: Sequence[str]) -> Sequence[str]:
        return gold[:-1]

    def scheme(self, answers: Answers) -> Scheme:
        return scheme_of(tuple(label for label in answers.labels if not label.startswith(INTENT)))

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        slots = super().answers(examples, reads=reads)
        return replace(slots, labels=(*slots.labels, *sorted({example.gold[-1] for example in examples})))

    def _parts(self, words: Words, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        return encode_intent(tokenizer, words, answers, length=length)

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        assert example.words is not None
        return asdict(intended(example.words, heard.parts, heard.logits, heard.answers))

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        slots = super().score(examples, said, answers)
        right = [(INTENT + one["intent"]) == example.gold[-1] for example, one in zip(examples, said, strict=True)]
        return {
            "whole": float(np.mean(self.items(examples, said, answers)[0])),
            "intent_accuracy": float(np.mean(right)),
            **{f"slot_{name}": value for name, value in slots.items()},
        }

    def items(
        self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers
    ) -> tuple[np.ndarray, np.ndarray]:
        return Task.items(self, examples, said, answers)

    def told(self, one: Mapping[str, Any]) -> Any:
        return (*one["tags"], INTENT + one["intent"])

    def always(self, golds: Sequence[Any]) -> list[dict[str, Any]]:
        (common, _), *_ = Counter(gold[-1] for gold in golds).most_common(1)
        return [one | {"intent": common.removeprefix(INTENT)} for one in super().always(golds)]

    def different(self, golds: Sequence[Any]) -> set[Any]:
        return {gold[-1].removeprefix(INTENT) for gold in golds}
