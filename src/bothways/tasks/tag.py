"""A tag for every word: names, chunks, slots, parts of speech; from words, or from characters' spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from bothways.corpus.lines import Skip
from bothways.errors import DataError, UsageError
from bothways.inference.answering import whole
from bothways.inference.examples import Encoded, encode_words
from bothways.inference.labelling import expect_words, tagged
from bothways.inference.schemes import OUTSIDE, Scheme, scheme_of
from bothways.inference.words import Words
from bothways.model import Answers
from bothways.tasks.labels import label_name, natural
from bothways.tasks.records import NAMES, BadField, Columns
from bothways.tasks.task import Example, Heard, Task, file_of
from bothways.text import Tokenizer


@dataclass(frozen=True)
class Tag(Task):
    """Records hold tokens and tags; or a text, tags, and offsets, the places of the words in it: [[0, 5]]; or a text
    and spans: [{"start": 0, "end": 5, "label": "PER"}]. All places are in characters.

    characters  whether each character of a text is a word, where a record does not say
    """

    characters: bool = False
    name, metric, key = "tag", "f1", "tags"
    items_say = "F1 of whole names; of tags that are none (NN, VB), how many are right"

    def like(self, answers: Answers) -> Tag:
        return replace(self, characters=answers.characters)

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        given = {role for role in ("text", "offsets", "tokens") if not {role, *NAMES[role]}.isdisjoint(fields)}
        tags = ("tags",) if gold else ()
        if {"text", "offsets"} <= given:
            return ("text", "offsets", *tags), ("id",)
        if "tokens" in given:
            return ("tokens", *tags), ("id",)
        return ("text", "spans") if gold else ("text",), ("characters", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        words, tags = self._words(record, columns), None
        if gold and "tags" in columns.names:
            tags = _tags(columns.value(record, "tags"), columns.names["tags"], len(words))
        elif gold:
            tags = _of_spans(columns.value(record, "spans"), columns.names["spans"], words)
        return Example(columns.id(record, number), (words.read,), tags, place, words)

    def _words(self, record: Mapping[str, Any], columns: Columns) -> Words:
        role = next(role for role in ("offsets", "tokens", "text") if role in columns.names)
        if role == "tokens":
            return Words.joined(_texts(columns.value(record, role), columns.names[role]))
        text = columns.text(record, "text")
        try:
            if role == "offsets":
                return Words.placed(text, _places(columns.value(record, role)))
            return Words.of(text, characters=_truth(record, columns, otherwise=self.characters))
        except UsageError as error:
            raise BadField(columns.names[role], str(error).removeprefix("expected ")) from None

    def slots(self, gold: Sequence[str]) -> Sequence[str]:
        """The tags of an example's words."""
        return gold

    def fitting(self, examples: Sequence[Example], skip: Skip) -> list[Example]:
        """Without those that have a tag written in another way than the others."""
        scheme, kept = self._found(examples), []
        for example in examples:
            if odd := next((tag for tag in self.slots(example.gold) if tag in scheme.odd), None):
                others = f"expected tags as the others are, {scheme.kind} as in {scheme.like!r}"
                example.leave_out(skip, f"{others}, or {scheme.outside!r} outside of names; got {odd!r}")
            else:
                kept.append(example)
        return kept

    def scheme(self, answers: Answers) -> Scheme:
        """How a model's tags are written."""
        return scheme_of(answers.labels)

    def reading(self, answers: Answers) -> str:
        scheme = self.scheme(answers)
        if not scheme.kind and all(label.isdecimal() for label in answers.labels if label != scheme.outside):
            return "numbers, of which nobody says what names they are: --set 'label_names=[O, B-PER, ...]' does, from 0"
        return str(scheme)

    def _found(self, examples: Sequence[Example]) -> Scheme:
        return scheme_of(tuple(sorted({tag for example in examples for tag in self.slots(example.gold)})))

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        """Every tag that was seen; of a name, all its forms (B-, I-), so that no word of a long one is without."""
        scheme = self._found(examples)
        tags = {scheme.outside, *scheme.forms(), *chain(*(self.slots(example.gold) for example in examples))}
        if len(tags) < 2:
            raise DataError(f"{file_of(examples)}: expected tags to tell apart, got only {OUTSIDE!r}")
        labels = tuple(sorted(tags, key=lambda tag: (tag != scheme.outside, natural(tag))))
        by = [example.words is not None and example.words.by == "characters" for example in examples]
        if any(by) and not all(by):
            place = examples[by.index(not by[0])].place
            raise DataError(f'{place}: expected "characters" {str(by[0]).lower()}, as in the records before')
        return Answers(self.name, "tags", labels, "one", reads, characters=by[0])

    def check(self, example: Example, answers: Answers) -> str | None:
        new = next((tag for tag in example.gold if tag not in answers.labels), None)
        return f"the tag {new!r} was not trained; known: {', '.join(answers.labels)}" if new else None

    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        assert example.words is not None
        expect_words(example.words, answers)
        parts = self._parts(example.words, tokenizer, answers, length=length)
        if example.gold is None:
            return parts
        numbers = np.array([answers.labels.index(tag) for tag in example.gold], dtype=np.int64)
        return [replace(part, labels=numbers[part.of]) for part in parts]

    def _parts(self, words: Words, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        """The places where something is said, numbered as an example's gold."""
        return encode_words(tokenizer, words, length=length)

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        assert example.words is not None
        labels = len(heard.answers.labels)
        found = whole(heard.parts, heard.logits, count=len(example.words), labels=labels)
        return asdict(tagged(example.words, found, heard.answers))

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        from seqeval.metrics import f1_score, precision_score, recall_score

        golds, found = [[*self.slots(example.gold)] for example in examples], [one["tags"] for one in said]
        flat = [[*chain(*some)] for some in (golds, found)]
        accuracy = float(np.mean([gold == tag for gold, tag in zip(*flat, strict=True)])) if flat[0] else 0.0
        scheme = self.scheme(answers)
        if not scheme.kind:
            return {"accuracy": accuracy}
        golds, found = ([[scheme.plain(tag) for tag in tags] for tags in some] for some in (golds, found))
        return {
            "f1": float(f1_score(golds, found, zero_division=0)),
            "precision": float(precision_score(golds, found, zero_division=0)),
            "recall": float(recall_score(golds, found, zero_division=0)),
            "accuracy": accuracy,
        }

    def items(
        self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of names, twice those that are right, over those said and those true: summed up, F1 over all."""
        from seqeval.metrics.sequence_labeling import get_entities

        scheme = self.scheme(answers)
        sides = [(example.gold, one["tags"]) for example, one in zip(examples, said, strict=True)]
        if scheme.kind:
            names = [[{*get_entities([scheme.plain(tag) for tag in tags])} for tags in side] for side in sides]
            counts = [(2 * len(true & told), len(true) + len(told)) for true, told in names]
        else:
            counts = [(sum(map(str.__eq__, *side)), len(side[0])) for side in sides]
        value, weight = np.array(counts, dtype=np.float64).T
        return value, weight

    def always(self, golds: Sequence[Any]) -> list[dict[str, Any]]:
        (common, _), *_ = Counter([*chain(*map(self.slots, golds))] or [OUTSIDE]).most_common(1)
        return [{self.key: [common] * len(self.slots(gold))} for gold in golds]

    def different(self, golds: Sequence[Any]) -> set[Any]:
        return {*chain(*golds)}


def _listed(value: Any) -> list[Any]:
    """A list, or what a table has for it: a text with spaces between."""
    return value.split() if isinstance(value, str) else value if isinstance(value, list) else []


def _texts(value: Any, column: str) -> list[str]:
    texts = _listed(value)
    if not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise BadField(column, f"a list of words, got {value!r:.80}")
    return texts


def _tags(value: Any, column: str, count: int) -> tuple[str, ...]:
    tags = [label_name(tag) for tag in _listed(value)]
    if not tags or None in tags:
        raise BadField(column, f"a list of tags, got {value!r:.80}")
    if len(tags) != count:
        raise BadField(column, f"as many tags as words ({count}), got {len(tags)}")
    return tuple(tag for tag in tags if tag)


def _places(value: Any) -> list[tuple[int, int]]:
    """Of words: [[0, 5], ...].

    Raises:
        UsageError: something else.
    """
    if not isinstance(value, list) or not value:
        raise UsageError(f"expected the places of words, [[0, 5], ...], got {value!r:.80}")
    for place in value:
        if not isinstance(place, list) or [type(end) for end in place] != [int, int]:
            raise UsageError(f"expected places of words, as [0, 5], got {place!r:.80}")
    return [(start, end) for start, end in value]


def _truth(record: Mapping[str, Any], columns: Columns, *, otherwise: bool) -> bool:
    """Whether the characters are the words, as the record has it."""
    said = label_name(record.get(columns.names.get("characters", "")))
    if said is not None and said.lower() not in ("true", "false"):
        raise BadField(columns.names["characters"], f"true or false, got {said!r}")
    return otherwise if said is None else said.lower() == "true"


def _of_spans(spans: Any, column: str, words: Words) -> tuple[str, ...]:
    """BIO tags of the words."""
    tags, begins, ends = [OUTSIDE] * len(words), words.places[:, 0], words.places[:, 1]
    if not isinstance(spans, list):
        raise BadField(column, f"a list of spans, got {spans!r:.80}")
    for span in spans:
        start, end, label = (span.get(key) if isinstance(span, dict) else None for key in ("start", "end", "label"))
        name = label_name(label)
        if not (type(start) is type(end) is int and name):
            raise BadField(column, f"start, end and label, got {span!r:.80}")
        inside = np.flatnonzero((begins >= start) & (ends <= end))
        if not len(inside) or begins[inside[0]] != start or ends[inside[-1]] != end:
            raise BadField(column, f"a span that begins and ends where words do, got {start} to {end}")
        if any(tags[place] != OUTSIDE for place in inside):
            raise BadField(column, f"spans that do not overlap, got another at {start} to {end}")
        for place in inside:
            tags[place] = f"I-{name}"
        tags[inside[0]] = f"B-{name}"
    return tuple(tags)
