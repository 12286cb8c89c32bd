"""A tag for every word: names, chunks, slots, parts of speech; from words, or from characters' spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.corpus.lines import Skip
from bothways.errors import DataError, UsageError
from bothways.model import TaskHead
from bothways.tasks.encoding import Encoded, encode_words
from bothways.tasks.labels import label_name, natural
from bothways.tasks.predictions import softmax, whole
from bothways.tasks.records import NAMES, BadField, Columns
from bothways.tasks.schemes import OUTSIDE, Scheme, scheme_of
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, file_of
from bothways.tasks.words import Entity, Words, entities
from bothways.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Tagged:
    """The words of a text, the tag of each and its chance, and the names that they make up."""

    words: list[str]
    tags: list[str]
    probabilities: list[float]
    entities: list[Entity]


@dataclass(frozen=True)
class Tag(Task):
    """Records hold tokens and tags; or a text, tags, and offsets, the places of the words in it: [[0, 5]]; or a text
    and spans: [{"start": 0, "end": 5, "label": "PER"}]. All places are in characters.

    characters  whether each character of a text is a word, where a record has no such field
    """

    characters: bool = False
    name, metric, key = "tag", "f1", "tags"
    items_say = "F1 of whole names; of tags that are none (NN, VB), how many are right"

    def like(self, head: TaskHead) -> Tag:
        """This task, by words or by characters as the model was taught."""
        return replace(self, characters=head.characters)

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """text with offsets, or tokens, or text alone; where gold is known tags or spans."""
        known = ("text", "offsets", "tokens", "tags", "spans")
        given = {role for role in known if not {role, *NAMES[role]}.isdisjoint(fields)}
        tags = ("tags",) if gold else ()
        spanned = {"text", "spans"} <= given and "tags" not in given  # what tokens there are is Prodigy's own
        if {"text", "offsets"} <= given and not spanned:
            return ("text", "offsets", *tags), ("id",)
        if "tokens" in given and not spanned:
            return ("tokens", *tags), ("id",)
        return ("text", "spans") if gold else ("text",), ("characters", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """Words and where they stand; gold is a tag for each."""
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
        with BadField.of(columns.names[role]):
            if role == "offsets":
                return Words.placed(text, _places(columns.value(record, role)))
            return Words.of(text, characters=_truth(record, columns, otherwise=self.characters))

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """Of a text, parted as the model was taught, or of a list of its words."""
        words = Words.of(inputs, characters=head.characters) if isinstance(inputs, str) else Words.joined(inputs)
        return Example(0, (words.read,), None, "", words)

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

    def scheme(self, head: TaskHead) -> Scheme:
        """How a model's tags are written."""
        return scheme_of(head.labels)

    def reading(self, head: TaskHead) -> str:
        """The scheme that the tags are of, or that they are numbers without names."""
        scheme = self.scheme(head)
        if not scheme.kind and all(label.isdecimal() for label in head.labels if label != scheme.outside):
            return "numbers, without names: give them by --set 'label_names=[O, B-PER, ...]', from 0"
        return str(scheme)

    def _found(self, examples: Sequence[Example]) -> Scheme:
        return scheme_of(tuple(sorted({tag for example in examples for tag in self.slots(example.gold)})))

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
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
        return TaskHead(self.name, "tags", labels, "one", reads, characters=by[0])

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The words as one sample, or several that overlap where there are many."""
        assert example.words is not None
        expect_words(example.words, head)
        parts = self._parts(example.words, tokenizer, head, length=length)
        if example.gold is None:
            return [part.sample(head) for part in parts]
        numbers = np.array([head.labels.index(tag) for tag in example.gold], dtype=np.int64)
        return [part.sample(head, numbers[part.of]) for part in parts]

    def _parts(self, words: Words, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Encoded]:
        """The places where a label is predicted, numbered as an example's gold."""
        return encode_words(tokenizer, words, length=length)

    def decode(self, example: Example, output: Output) -> Tagged:
        """A tag for each word, and the names that they make up."""
        assert example.words is not None
        labels = len(output.head.labels)
        found = whole(output.samples, output.logits, count=len(example.words), labels=labels)
        return tagged(example.words, found, output.head)

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A text with a wrong tag, by the highest probability of one."""
        tags, words = prediction["tags"], example.words
        bad = [i for i, (tag, gold) in enumerate(zip(tags, example.gold, strict=False)) if tag != gold]
        if not bad or words is None:
            return None
        shown = [(words[i], f"{tags[i]}, right: {example.gold[i]}") for i in bad[:8]]
        return max(prediction["probabilities"][i] for i in bad), shown

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """f1, precision and recall of whole names by seqeval, and the accuracy of tags; shares."""
        from seqeval.metrics import f1_score, precision_score, recall_score

        golds, found = [[*self.slots(example.gold)] for example in examples], [one["tags"] for one in predictions]
        flat = [[*chain(*some)] for some in (golds, found)]
        accuracy = float(np.mean([gold == tag for gold, tag in zip(*flat, strict=True)])) if flat[0] else 0.0
        scheme = self.scheme(head)
        if not scheme.kind:
            return {"accuracy": accuracy}
        golds, found = ([[scheme.plain(tag) for tag in tags] for tags in some] for some in (golds, found))
        return {
            "f1": float(f1_score(golds, found, zero_division=0)),
            "precision": float(precision_score(golds, found, zero_division=0)),
            "recall": float(recall_score(golds, found, zero_division=0)),
            "accuracy": accuracy,
        }

    def by_class(self, gold: Any, head: TaskHead) -> dict[str, list[tuple[str, Any]]]:
        """The names, each with its first and last word; where tags are plain, the words with theirs."""
        from seqeval.metrics.sequence_labeling import get_entities

        tags, scheme = self.slots(gold), self.scheme(head)
        if not scheme.kind:
            return {"words": [(tag, number) for number, tag in enumerate(tags)]}
        return {"names": [(one[0], one[1:]) for one in get_entities([scheme.plain(tag) for tag in tags])]}

    def items(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of names, twice those that are right, over those predicted and those true: summed up, F1 over all."""
        from seqeval.metrics.sequence_labeling import get_entities

        scheme = self.scheme(head)
        sides = [(example.gold, one["tags"]) for example, one in zip(examples, predictions, strict=True)]
        if scheme.kind:
            names = [[{*get_entities([scheme.plain(tag) for tag in tags])} for tags in side] for side in sides]
            counts = [(2 * len(true & found), len(true) + len(found)) for true, found in names]
        else:
            counts = [(sum(map(str.__eq__, *side)), len(side[0])) for side in sides]
        value, weight = np.array(counts, dtype=np.float64).T
        return value, weight

    def always(self, golds: Sequence[Any]) -> list[dict[str, Any]]:
        """The commonest tag for each word."""
        (common, _), *_ = Counter([*chain(*map(self.slots, golds))] or [OUTSIDE]).most_common(1)
        return [{self.key: [common] * len(self.slots(gold))} for gold in golds]

    def different(self, golds: Sequence[Any]) -> set[Any]:
        """The tags."""
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
    value = label_name(record.get(columns.names.get("characters", "")))
    if value is not None and value.lower() not in ("true", "false"):
        raise BadField(columns.names["characters"], f"true or false, got {value!r}")
    return otherwise if value is None else value.lower() == "true"


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


def tagged(words: Words, logits: np.ndarray, head: TaskHead) -> Tagged:
    """logits [W, C], nan for a word that the model never saw: it is outside of everything."""
    known, scheme = ~np.isnan(logits[:, 0]), scheme_of(head.labels)
    found = softmax(np.where(known[:, None], logits, 0.0).astype(np.float64))
    best = found.argmax(-1)
    tags = [head.labels[number] if there else scheme.outside for number, there in zip(best, known, strict=True)]
    sure = [float(chance) if there else 1.0 for chance, there in zip(found.max(-1), known, strict=True)]
    return Tagged([words[i] for i in range(len(words))], tags, sure, list(entities(words, tags, scheme)))


def expect_words(words: Words, head: TaskHead) -> None:
    """
    Raises:
        UsageError: characters of a text for a model that was taught its words, or the other way round.
    """
    if words.by in ("text", "characters") and (words.by == "characters") != head.characters:
        ways = ("the words of a text", "its characters")[:: -1 if head.characters else 1]
        raise UsageError(f"expected {ways[0]}, as the model was trained on, got {ways[1]}")
