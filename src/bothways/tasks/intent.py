"""What somebody wants, and what they say about it: an intent for the text and a slot for every word, in one pass.

One head says both, as transformers' class for tags has it: the intent where the text begins, the slots at the words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bothways.inference.examples import Encoded
from bothways.inference.intents import INTENT, encode_intent, intended
from bothways.inference.words import Words
from bothways.model import Answers
from bothways.tasks.records import BadField, Columns
from bothways.tasks.tag import Tag
from bothways.tasks.task import Example, Heard
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
        intent = record.get(columns.names["intent"])
        if not isinstance(intent, str) or not intent.strip():
            raise BadField(columns.names["intent"], f"the name of an intent, got {intent!r}")
        return replace(example, gold=(*example.gold, INTENT + intent))

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        slots = super().answers([_slots(example) for example in examples], reads=reads)
        return replace(slots, labels=(*slots.labels, *sorted({example.gold[-1] for example in examples})))

    def _parts(self, words: Words, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        return encode_intent(tokenizer, words, answers, length=length)

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        assert example.words is not None
        return asdict(intended(example.words, heard.parts, heard.logits, heard.answers))

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        slots = super().score([_slots(example) for example in examples], said, answers)
        right = [(INTENT + one["intent"]) == example.gold[-1] for example, one in zip(examples, said, strict=True)]
        return {
            "whole": float(np.mean(self.items(examples, said)[0])),
            "intent_accuracy": float(np.mean(right)),
            **{f"slot_{name}": value for name, value in slots.items()},
        }

    def items(self, examples: Sequence[Example], said: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        whole = [
            (*one["tags"], INTENT + one["intent"]) == example.gold for example, one in zip(examples, said, strict=True)
        ]
        return np.array(whole, dtype=np.float64), np.ones(len(whole))


def _slots(example: Example) -> Example:
    return replace(example, gold=example.gold[:-1])
