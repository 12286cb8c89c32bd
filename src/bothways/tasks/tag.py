"""A tag for every word: names, chunks, slots (BIO or BIOES), parts of speech; from words, or from characters' spans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bothways.errors import DataError, UsageError
from bothways.inference.answering import whole
from bothways.inference.examples import Encoded, encode_words
from bothways.inference.labelling import OUTSIDE, tagged
from bothways.inference.words import Words
from bothways.model import Answers
from bothways.tasks.records import NAMES, BadField, Columns
from bothways.tasks.task import Example, Heard, Task, file_of
from bothways.text import Tokenizer


class Tag(Task):
    """Records hold tokens and tags, or a text and spans: [{"start": 0, "end": 5, "label": "PER"}], in characters."""

    name, metric, items_say = "tag", "f1", "F1 of whole names; of tags that are none (NN, VB), how many are right"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        if "tokens" in fields or any(name in fields for name in NAMES["tokens"]):
            return ("tokens", "tags") if gold else ("tokens",), ("id",)
        return ("text", "spans") if gold else ("text",), ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        tags = None
        if "tokens" in columns.names:
            column = columns.names["tokens"]
            words = Words.joined(_texts(columns.value(record, "tokens"), column, "words"))
            if gold:
                tags = _tags(columns.value(record, "tags"), columns.names["tags"], len(words))
        else:
            try:
                words = Words.of(columns.text(record, "text"))
            except UsageError as error:
                raise BadField(columns.names["text"], str(error).removeprefix("expected ")) from None
            if gold:
                tags = _of_spans(columns.value(record, "spans"), columns.names["spans"], words)
        return Example(columns.id(record, number), (words.read,), tags, place, words)

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        """Every tag that was seen; of a name, all its forms (B-, I-), so that no word of a long one is without."""
        seen = {tag for example in examples for tag in example.gold}
        forms = {tag[:2] for tag in seen if tag[1:2] == "-"}
        names = {tag[2:] for tag in seen if tag[1:2] == "-"}
        tags = {OUTSIDE, *seen, *(form + name for form in forms | ({"B-", "I-"} if forms else set()) for name in names)}
        if len(tags) < 2:
            raise DataError(f"{file_of(examples)}: expected tags to tell apart, got only {OUTSIDE!r}")
        return Answers(self.name, "tags", tuple(sorted(tags, key=lambda tag: (tag != OUTSIDE, tag))), "one", reads)

    def check(self, example: Example, answers: Answers) -> str | None:
        new = next((tag for tag in example.gold if tag not in answers.labels), None)
        return f"the tag {new!r} was not trained; known: {', '.join(answers.labels)}" if new else None

    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        assert example.words is not None
        parts = self._parts(example.words, tokenizer, answers, length=length)
        if example.gold is None:
            return parts
        numbers = np.array([answers.labels.index(tag) for tag in example.gold], dtype=np.int64)
        return [replace(part, labels=numbers[part.of]) for part in parts]

    def _parts(self, words: Words, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        """The places where something is said, numbered as an example's gold."""
        return encode_words(tokenizer, words.read, words.spans, length=length)

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        assert example.words is not None
        labels = len(heard.answers.labels)
        found = whole(heard.parts, heard.logits, count=len(example.words), labels=labels)
        return asdict(tagged(example.words, found, heard.answers))

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        from seqeval.metrics import f1_score, precision_score, recall_score

        golds, found = [list(example.gold) for example in examples], [one["tags"] for one in said]
        flat = [[tag for tags in some for tag in tags] for some in (golds, found)]
        accuracy = float(np.mean([gold == tag for gold, tag in zip(*flat, strict=True)])) if flat[0] else 0.0
        if not any(tag[1:2] == "-" for tag in answers.labels):
            return {"accuracy": accuracy}
        return {
            "f1": float(f1_score(golds, found, zero_division=0)),
            "precision": float(precision_score(golds, found, zero_division=0)),
            "recall": float(recall_score(golds, found, zero_division=0)),
            "accuracy": accuracy,
        }

    def items(self, examples: Sequence[Example], said: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Of names, twice those that are right, over those said and those true: summed up, F1 over all."""
        from seqeval.metrics.sequence_labeling import get_entities

        tags = [(list(example.gold), one["tags"]) for example, one in zip(examples, said, strict=True)]
        if not any(tag[1:2] == "-" for gold, _ in tags for tag in gold):
            counts = [(sum(map(str.__eq__, *sides)), len(sides[0])) for sides in tags]
        else:
            names = [(set(get_entities(gold)), set(get_entities(found))) for gold, found in tags]
            counts = [(2 * len(true & told), len(true) + len(told)) for true, told in names]
        value, weight = np.array(counts, dtype=np.float64).T
        return value, weight


def _texts(value: Any, column: str, what: str) -> list[str]:
    """A list of texts, or one with spaces between them, as tables hold it."""
    texts = value.split() if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise BadField(column, f"a list of {what}, got {value!r:.80}")
    return texts


def _tags(value: Any, column: str, count: int) -> tuple[str, ...]:
    tags = _texts(value, column, "tags")
    if len(tags) != count:
        raise BadField(column, f"as many tags as words ({count}), got {len(tags)}")
    return tuple(tags)


def _of_spans(spans: Any, column: str, words: Words) -> tuple[str, ...]:
    """BIO tags of the words."""
    tags, begins, ends = [OUTSIDE] * len(words), words.places[:, 0], words.places[:, 1]
    if not isinstance(spans, list):
        raise BadField(column, f"a list of spans, got {spans!r:.80}")
    for span in spans:
        start, end, label = (span.get(key) if isinstance(span, dict) else None for key in ("start", "end", "label"))
        if not (type(start) is type(end) is int and isinstance(label, str) and label.strip()):
            raise BadField(column, f"start, end and label, got {span!r:.80}")
        inside = np.flatnonzero((begins >= start) & (ends <= end))
        if not len(inside) or begins[inside[0]] != start or ends[inside[-1]] != end:
            raise BadField(column, f"a span that begins and ends where words do, got {start} to {end}")
        if any(tags[place] != OUTSIDE for place in inside):
            raise BadField(column, f"spans that do not overlap, got another at {start} to {end}")
        for place in inside:
            tags[place] = f"I-{label}"
        tags[inside[0]] = f"B-{label}"
    return tuple(tags)
