"""What somebody wants, and what they say about it: an intent for the text and a slot for every word, in one pass.

One head predicts both, as transformers' class for tags has it: the intent where the text begins, the slots at words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bothways.model import TaskHead
from bothways.tasks.encoding import Encoded, encode_words
from bothways.tasks.predictions import softmax, whole
from bothways.tasks.records import Columns
from bothways.tasks.schemes import Scheme, scheme_of
from bothways.tasks.tag import Tag, Tagged, tagged
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside
from bothways.tasks.words import Words
from bothways.text import Tokenizer

INTENT = "intent:"
"""What the names of intents begin with, among the labels; the others are slots."""


@dataclass(frozen=True, slots=True)
class Intended(Tagged):
    """As Tagged, with what the whole text is for and how sure that is."""

    intent: str
    intent_probability: float


class Intent(Tag):
    """Records as those of `Tag`, with an intent. An example's gold are the slots, and behind them the intent."""

    name, metric, items_say = "intent", "whole", "of how many texts the intent and all slots are right"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """As Tag, and where gold is known intent."""
        needed, optional = super().roles(fields, gold=gold)
        return ((*needed, "intent") if gold else needed), optional

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """As Tag; gold ends with the intent."""
        example = super().read(record, columns, place=place, number=number, gold=gold)
        if not gold:
            return example
        return replace(example, gold=(*example.gold, INTENT + columns.label(record, "intent", "an intent")))

    def slots(self, gold: Sequence[str]) -> Sequence[str]:
        """The tags, without the intent."""
        return gold[:-1]

    def scheme(self, head: TaskHead) -> Scheme:
        """That of the slots' tags."""
        return scheme_of(tuple(label for label in head.labels if not label.startswith(INTENT)))

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """The tags, and behind them the intents."""
        slots = super().head(examples, reads=reads)
        return replace(slots, labels=(*slots.labels, *sorted({example.gold[-1] for example in examples})))

    def _parts(self, words: Words, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Encoded]:
        return encode_intent(tokenizer, words, head, length=length)

    def decode(self, example: Example, output: Output) -> Intended:
        """An intent is one of the intents only, a slot one of the slots."""
        words, head = example.words, output.head
        assert words is not None
        found = whole(output.samples, output.logits, count=len(words) + 1, labels=len(head.labels))
        is_intent = np.array([label.startswith(INTENT) for label in head.labels])
        slots, intents = (
            replace(head, labels=tuple(label for label, there in zip(head.labels, side, strict=True) if there))
            for side in (~is_intent, is_intent)
        )
        parts = tagged(words, found[:-1, ~is_intent], slots)
        sure = softmax(np.nan_to_num(found[-1, is_intent]).astype(np.float64))
        intent = intents.labels[int(sure.argmax())].removeprefix(INTENT)
        return Intended(parts.words, parts.tags, parts.probabilities, parts.entities, intent, float(sure.max()))

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A text with a wrong intent or a wrong slot, by the highest probability of one."""
        slots = super().mistake(example, prediction, head)
        if INTENT + prediction["intent"] == example.gold[-1]:
            return slots
        sure, shown = slots or (0.0, [])
        wrong = (example.gold[-1].removeprefix(INTENT), prediction["intent"])
        return max(sure, prediction["intent_probability"]), [*beside(*wrong), *shown]

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """whole (intent and all slots right), the intent's accuracy, and the slots' scores, in shares."""
        slots = super().score(examples, predictions, head)
        pairs = zip(examples, predictions, strict=True)
        right = [INTENT + one["intent"] == example.gold[-1] for example, one in pairs]
        return {
            "whole": float(self.right(examples, predictions).mean()),
            "intent_accuracy": float(np.mean(right)),
            **{f"slot_{name}": value for name, value in slots.items()},
        }

    def items(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether each example is right as a whole."""
        return Task.items(self, examples, predictions, head)

    def predicted(self, one: Mapping[str, Any]) -> Any:
        """The tags, and behind them the intent."""
        return (*one["tags"], INTENT + one["intent"])

    def by_class(self, gold: Any, head: TaskHead) -> dict[str, list[tuple[str, Any]]]:
        """The intent of the text, and the slots as `Tag` has them."""
        return {"texts": [(gold[-1].removeprefix(INTENT), None)], **super().by_class(gold, head)}

    def always(self, golds: Sequence[Any]) -> list[dict[str, Any]]:
        """The commonest tag for each word, and the commonest intent."""
        (common, _), *_ = Counter(gold[-1] for gold in golds).most_common(1)
        return [one | {"intent": common.removeprefix(INTENT)} for one in super().always(golds)]

    def different(self, golds: Sequence[Any]) -> set[Any]:
        """The intents."""
        return {gold[-1].removeprefix(INTENT) for gold in golds}


def encode_intent(tokenizer: Tokenizer, words: Words, head: TaskHead, *, length: int) -> list[Encoded]:
    """As `encode_words`, with a place numbered W for the intent: where the text begins, or ends where it is read from
    left to right."""
    parts = encode_words(tokenizer, words, length=length)
    if not parts:
        return []
    number, at = (-1, len(parts[-1].tokens) - 1) if head.reads == "decoder" else (0, 0)
    part = parts[number]
    parts[number] = replace(part, at=np.append(part.at, at), of=np.append(part.of, len(words)))
    return parts
