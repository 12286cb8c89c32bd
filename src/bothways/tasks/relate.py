"""How are two things in a text related? Scored as SemEval-2010 task 8 does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import DataError, UsageError
from bothways.model import TaskHead
from bothways.tasks.encoding import Encoded
from bothways.tasks.predictions import Label, label_of
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example, Output, Predictions, Task, file_of
from bothways.tasks.words import Pair, composed, found_in
from bothways.text import Tokenizer

_MARKERS = ("$#", "@*", "<>", "[]", "()")
"""What stands around the first and around the second thing, as in R-BERT; others where a tokenizer lacks it."""
NONE = (
    *("other", "no_relation", "no relation", "no-relation", "norelation", "none", "na", "unknown"),
    *("无", "无关系", "其他", "其它", "未知"),
)
"""Labels, in small letters, of texts with none of the relations: left out of the score."""


class Relate(Task):
    """Records hold a text with both things marked, <e1>one</e1> and <e2>two</e2>, or a text, a head and a tail: each
    {"start": 0, "end": 3} in characters, or its words, of which the first place in the text counts."""

    name, metric, heads, key = "relate", "f1", ("markers", "entities"), "label"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """text, perhaps head and tail, and where gold is known label."""
        return ("text", "label") if gold else ("text",), ("head", "tail", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A text with two marked things, by <e1> and <e2> or by head and tail; gold is a relation."""
        text, known = columns.text(record, "text"), {"head", "tail"} <= columns.names.keys()
        placed = known and any(columns.has(record, role) for role in ("head", "tail"))
        label = columns.label(record, "label", "a relation") if gold else None
        with BadField.of(columns.names["head" if placed else "text"]):
            if placed:
                spans = [_place(columns.value(record, role), columns.names[role], text) for role in ("head", "tail")]
                pair = Pair.placed(text, *spans[0], *spans[1])
            else:
                pair = Pair.marked(text)
        return Example(columns.id(record, number), (pair.text,), label, place, pair=pair)

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """Of a text with both things marked."""
        pair = Pair.marked(inputs)
        return Example(0, (pair.text,), None, "", pair=pair)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """All relations of the training examples, in alphabetical order."""
        labels = sorted({example.gold for example in examples})
        if len(labels) < 2:
            only = ", ".join(labels) or "none"
            raise DataError(f"{file_of(examples)}: expected two relations or more to tell apart, got only {only!r}")
        return TaskHead(self.name, "markers", tuple(labels), "one", reads)

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The text with its markers as one sample."""
        assert example.pair is not None
        encoded = encode_related(tokenizer, example.pair, length=length)
        labels = None if example.gold is None else [head.labels.index(example.gold)]
        return [encoded.sample(head, labels)]

    def decode(self, example: Example, output: Output) -> Label:
        """The likeliest relation."""
        return label_of(output.logits[0][0], output.head)

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """f1 as SemEval-2010 task 8 counts it, where the labels are of its form, and accuracy; shares."""
        golds, found = [example.gold for example in examples], [one["label"] for one in predictions]
        right = self.right(examples, predictions)
        return {"f1": relation_f1(golds, found, head.labels), "accuracy": float(right.mean())}


def relation_f1(golds: Sequence[str], predictions: Sequence[str], labels: Collection[str]) -> float:
    """The official score of SemEval-2010 task 8, "(9+1)-way evaluation taking directionality into account": the mean of
    the relations' F1, Other left out. Both directions are one relation, right only if the direction is: a wrong one
    counts against precision and against recall."""
    relations = {relation_of(label) for label in labels} - {None}
    scores = []
    for relation in sorted(filter(None, relations)):
        true = sum(relation_of(gold) == relation for gold in golds)
        found = sum(relation_of(label) == relation for label in predictions)
        right = sum(
            gold == label and relation_of(gold) == relation for gold, label in zip(golds, predictions, strict=True)
        )
        scores.append(2 * right / (true + found) if true + found else 0.0)
    return float(np.mean(scores)) if scores else 0.0


def relation_of(label: str) -> str | None:
    """The label without its direction, "(e1,e2)"; None for the one of no relation."""
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


def encode_related(tokenizer: Tokenizer, pair: Pair, *, length: int) -> Encoded:
    """The text with markers around both things; what is too much is left out, the furthest from both first.

    Its one place has five parts, `at` [1, 5]: the beginning, the markers around the first, those around the second.

    Raises:
        UsageError: the things alone are more than fits.
    """
    read, places = composed(pair.text)
    tokens, covered = tokenizer.encode_spans(read)
    if not len(tokens):
        raise UsageError("expected a text, got none that the tokenizer keeps")
    spans = np.searchsorted(places, pair.things)
    first = np.minimum(np.searchsorted(covered[:, 1], spans[:, 0], side="right"), len(tokens) - 1)
    behind = np.maximum(np.searchsorted(covered[:, 0], spans[:, 1]), first + 1)
    place = np.arange(len(tokens))
    away = np.maximum(np.maximum(first[:, None] - place, place - behind[:, None] + 1), 0).min(0)  # [T]
    room = tokenizer.frame.room(length, 1) - 4
    if (needed := int((away == 0).sum())) > room:
        raise UsageError(f"the two things are {needed} tokens, and with their markers {room} fit in {length}")
    kept = np.sort(np.argsort(away, kind="stable")[:room])
    signs = markers(tokenizer)
    # Where two markers stand together, the one that closes is before the one that opens.
    put = sorted([(behind[i], 0, i) for i in (0, 1)] + [(first[i], 1, i) for i in (0, 1)])
    index = np.searchsorted(kept, [at for at, _, _ in put])
    marked = np.insert(tokens[kept], index, [signs[i] for _, _, i in put])
    framed, segments, (opening,) = tokenizer.frame.around(marked)
    stands = {(i, opens): at + rank + opening for rank, (at, (_, opens, i)) in enumerate(zip(index, put, strict=True))}
    at = np.array([[0, *(stands[i, opens] for i in (0, 1) for opens in (1, 0))]], dtype=np.int64)
    return Encoded(framed, segments, at, np.zeros(1, dtype=np.int64), len(tokens) - len(kept))


def markers(tokenizer: Tokenizer) -> tuple[int, int]:
    """The tokens around the first thing and around the second; of a tokenizer that knows no such signs, [MASK] and
    [SEP].

    Raises:
        UsageError: it has not even these.
    """
    for signs in _MARKERS:
        first, second = (int(tokenizer.encode(sign)[-1]) for sign in signs)
        if tokenizer.vocabulary.unk not in (first, second) and first != second:
            return first, second
    found = tokenizer.vocabulary.mask, tokenizer.vocabulary.sep
    if -1 in found:
        raise UsageError("expected a tokenizer that knows signs to mark things with, such as $ and #, or has [MASK]")
    return found
