"""How are two things in a text related? Scored as SemEval-2010 task 8 does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bothways.errors import DataError, UsageError
from bothways.inference.examples import Encoded
from bothways.inference.labelling import label_of
from bothways.inference.relating import Pair, encode_related
from bothways.inference.words import found_in
from bothways.model import Answers
from bothways.tasks.labels import label_name
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example, Heard, Task, file_of
from bothways.text import Tokenizer

NONE = ("other", "no_relation", "no relation", "none", "na", "unknown")
"""Labels, in small letters, that say that there is none of the relations: left out of the score."""


class Relate(Task):
    """Records hold a text with both things marked, <e1>one</e1> and <e2>two</e2>, or a text, a head and a tail: each
    {"start": 0, "end": 3} in characters, or its words, of which the first place in the text counts."""

    name, metric, heads, key = "relate", "f1", ("markers", "entities"), "label"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        return ("text", "label") if gold else ("text",), ("head", "tail", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        text, known = columns.text(record, "text"), {"head", "tail"} <= columns.names.keys()
        placed = known and any(columns.has(record, role) for role in ("head", "tail"))
        label = label_name(record.get(columns.names["label"])) if gold else None
        if gold and label is None:
            raise BadField(
                columns.names["label"], f"the name of a relation, got {record.get(columns.names['label'])!r}"
            )
        try:
            if placed:
                spans = [_place(columns.value(record, role), columns.names[role], text) for role in ("head", "tail")]
                pair = Pair.placed(text, *spans[0], *spans[1])
            else:
                pair = Pair.marked(text)
        except UsageError as error:
            column = columns.names["head" if placed else "text"]
            raise BadField(column, str(error).removeprefix("expected ")) from None
        return Example(columns.id(record, number), (pair.text,), label, place, pair=pair)

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        labels = sorted({example.gold for example in examples})
        if len(labels) < 2:
            only = ", ".join(labels) or "none"
            raise DataError(f"{file_of(examples)}: expected two relations or more to tell apart, got only {only!r}")
        return Answers(self.name, "markers", tuple(labels), "one", reads)

    def check(self, example: Example, answers: Answers) -> str | None:
        known = ", ".join(answers.labels)
        return (
            None if example.gold in answers.labels else f"the relation {example.gold!r} was not trained; {known} were"
        )

    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        assert example.pair is not None
        encoded = encode_related(tokenizer, example.pair, length=length)
        if example.gold is None:
            return [encoded]
        return [replace(encoded, labels=np.array([answers.labels.index(example.gold)]))]

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        return asdict(label_of(heard.logits[0][0], heard.answers))

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        golds, found = [example.gold for example in examples], [one["label"] for one in said]
        right = [gold == label for gold, label in zip(golds, found, strict=True)]
        return {"f1": relation_f1(golds, found, answers.labels), "accuracy": float(np.mean(right)) if right else 0.0}


def relation_f1(golds: Sequence[str], said: Sequence[str], labels: Collection[str]) -> float:
    """The official score of SemEval-2010 task 8, "(9+1)-way evaluation taking directionality into account": the mean of
    the relations' F1, Other left out. Both directions are one relation, right only if the direction is: a wrong one
    counts against precision and against recall."""
    relations = {relation_of(label) for label in labels} - {None}
    scores = []
    for relation in sorted(filter(None, relations)):
        true = sum(relation_of(gold) == relation for gold in golds)
        told = sum(relation_of(label) == relation for label in said)
        right = sum(gold == label and relation_of(gold) == relation for gold, label in zip(golds, said, strict=True))
        scores.append(2 * right / (true + told) if true + told else 0.0)
    return float(np.mean(scores)) if scores else 0.0


def relation_of(label: str) -> str | None:
    """The label without its direction, "(e1,e2)"; None for the one that says there is none."""
    return None if label.strip().lower() in NONE else re.sub(r"\((e1,e2|e2,e1)\)$", "", label)


def _place(value: Any, column: str, text: str) -> tuple[int, int]:
    """
    Raises:
        BadField: no words, or words that are not in the text.
    """
    if isinstance(value, str) and value:
        place = found_in(text, value)
        if place is None:
            raise BadField(column, f"words of the text, got {value!r}, which are not there")
        return place
    try:
        return int(value["start"]), int(value["end"])
    except (TypeError, KeyError, ValueError):
        raise BadField(column, f"words of the text, or start and end, got {value!r:.80}") from None
