"""An intent for a text and a slot for each of its words, said by one head of tags.

Letters: W words, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bothways.inference.answering import chances, logits_of, whole
from bothways.inference.engine import Engine
from bothways.inference.examples import Encoded, encode_words
from bothways.inference.labelling import Tagged, tagged, taught, words_of
from bothways.inference.words import Words
from bothways.model import Answers
from bothways.text import Tokenizer

INTENT = "intent:"
"""What the names of intents begin with, among the labels; the others are slots."""


@dataclass(frozen=True, slots=True)
class Intended(Tagged):
    """As Tagged, with what the whole text is for and how sure that is."""

    intent: str
    intent_probability: float


def intent(engine: Engine, texts: Sequence[str]) -> list[Intended]:
    """
    Raises:
        ModelError: the model was not fine-tuned to.
    """
    answers, length = taught(engine, "intent"), engine.length
    found = [words_of(text, answers) for text in texts]
    parts = [encode_intent(engine.tokenizer, words, answers, length=length) for words in found]
    logits = iter(logits_of(engine.model, [part for some in parts for part in some], answers))
    return [
        intended(words, some, [next(logits) for _ in some], answers) for words, some in zip(found, parts, strict=True)
    ]


def encode_intent(tokenizer: Tokenizer, words: Words, answers: Answers, *, length: int) -> list[Encoded]:
    """As `encode_words`, with a place numbered W for the intent: where the text begins, or ends where it is read from
    left to right."""
    parts = encode_words(tokenizer, words, length=length)
    if not parts:
        return []
    number, at = (-1, len(parts[-1]) - 1) if answers.reads == "decoder" else (0, 0)
    part = parts[number]
    parts[number] = replace(
        part, at=np.append(part.at, at), of=np.append(part.of, len(words)), labels=np.append(part.labels, 0)
    )
    return parts


def intended(words: Words, parts: Sequence[Encoded], logits: Sequence[np.ndarray], answers: Answers) -> Intended:
    """logits [places, C] of each part. An intent is one of the intents only, a slot one of the slots."""
    found = whole(parts, logits, count=len(words) + 1, labels=len(answers.labels))
    is_intent = np.array([label.startswith(INTENT) for label in answers.labels])
    kinds = [
        replace(answers, labels=tuple(label for label, there in zip(answers.labels, side, strict=True) if there))
        for side in (~is_intent, is_intent)
    ]
    slots = tagged(words, found[:-1, ~is_intent], kinds[0])
    sure = chances(np.nan_to_num(found[-1, is_intent]).astype(np.float64), kinds[1])
    intent = kinds[1].labels[int(sure.argmax())].removeprefix(INTENT)
    return Intended(slots.words, slots.tags, slots.probabilities, slots.entities, intent, float(sure.max()))
