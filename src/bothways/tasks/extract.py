"""Sentences of a text as its summary (BERTSUM, Liu and Lapata 2019): a token before each says whether it belongs to it.

Letters: T tokens, S sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks.encoding import Encoded
from bothways.tasks.records import BadField, Columns
from bothways.tasks.rouge import KINDS, rouge, rouge_tokens, scorer
from bothways.tasks.sentence_choice import centralities, greedy_oracle, highest
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside
from bothways.text import Tokenizer
from bothways.text.sentences import join_sentences, split_sentences

SENTENCES = 3


@dataclass(frozen=True, slots=True)
class Reference:
    """What a summary should be: a text, or several of which the best counts; and where a person chose them the numbers
    of its sentences."""

    texts: tuple[str, ...]
    sentences: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """The numbers of the sentences of a summary, from 0, in order; the summary; of each sentence that was read, how
    likely it belongs to one."""

    sentences: list[int]
    summary: str
    scores: list[float]


class Extract(Task):
    """Records hold a text, or a list of its sentences, and a summary, a list of several, or one of the numbers of its
    sentences."""

    name, metric, items_say = "extract", "rouge1", "how many words its summary and theirs have in common (ROUGE-1 F1)"
    heads = ("extract", "extract-mean")
    settings = ("sentences", "trigram_blocking")

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """text, and where gold is known summary."""
        return ("text", "summary") if gold else ("text",), ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """The sentences of a text; gold is a `Reference`."""
        sentences = _read_sentences(record, columns)
        reference = _reference(record, columns, sentences) if gold else None
        return Example(columns.id(record, number), sentences, reference, place)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """One logit for each sentence."""
        scorer()  # it is asked after every epoch: better now than then
        label = ("a sentence of the summary",)
        return TaskHead(self.name, "extract", label, "sentences", reads, sentences=SENTENCES, trigram_blocking=True)

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """Of a text, or of a tuple of its sentences."""
        example = super().given(inputs, head)
        sentences = split_sentences(inputs) if isinstance(inputs, str) else example.texts
        if not any(map(str.strip, sentences)):
            raise UsageError(f"extract: expected a text with a sentence, got {inputs!r:.60}")
        return Example(0, tuple(sentences), None, "")

    def limit(self, length: int) -> str:
        """In words: sentences are left out, from the end."""
        return f"the sentences within the {length} tokens that the model reads"

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """All sentences that fit, each in the tokenizer's own frame, their segments 0 and 1 by turns where the model
        has two. The oracle chooses among those that fit."""
        encoded = encode_sentences(tokenizer, example.texts, length=length)
        labels = np.zeros((len(encoded.at), 1), dtype=np.float32)
        labels[self.right_sentences(example, head, among=len(labels))] = 1.0
        return [encoded.sample(head, labels, group=0)]

    def right_sentences(self, example: Example, head: TaskHead, *, among: int | None = None) -> list[int]:
        """Those that were chosen by a person, else by the greedy oracle; of the first so many."""
        gold, read = example.gold, example.texts[:among]
        if gold is None or gold.sentences is None:
            return greedy_oracle(read, gold.texts, head.sentences) if gold else []
        return [number for number in gold.sentences if number < len(read)]

    def decode(self, example: Example, output: Output) -> Extraction:
        """The best of those that were read."""
        scores = 1 / (1 + np.exp(-output.logits[0][:, 0].astype(np.float64)))
        return Extraction(**self._chosen(example, scores, output.head), scores=scores.tolist())

    def _chosen(self, example: Example, scores: np.ndarray, head: TaskHead) -> dict[str, Any]:
        numbers = highest(example.texts[: len(scores)], scores, head.sentences, blocking=head.trigram_blocking)
        return {"sentences": numbers, "summary": join_sentences([example.texts[number] for number in numbers])}

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A summary by how little of the reference is in it."""
        shared = rouge(example.gold.texts, prediction["summary"])["rouge1"]
        return (1 - shared, beside(" / ".join(example.gold.texts), f"{prediction['summary']} (ROUGE-1 {shared:.2f})"))

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """ROUGE-1, ROUGE-2 and ROUGE-L, the means of their F1."""
        return self.scores_of(examples, predictions, head)(range(len(examples)))

    def scores_of(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> Callable[[Sequence[int]], dict[str, float]]:
        """Each example is scored once."""
        pairs = zip(examples, predictions, strict=True)
        found = np.array([[*rouge(example.gold.texts, one["summary"]).values()] for example, one in pairs])
        return lambda drawn: dict(zip(KINDS, found[np.asarray(drawn)].mean(0).tolist(), strict=True))

    def items(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ROUGE-1 F1 of each."""
        pairs = zip(examples, predictions, strict=True)
        found = [rouge(example.gold.texts, one["summary"])["rouge1"] for example, one in pairs]
        return np.array(found), np.ones(len(found))

    def baselines(self, examples: Sequence[Example], head: TaskHead) -> dict[str, Predictions]:
        """The first sentences, the most central ones, and as a ceiling those that the reference tells."""
        middle = centralities([example.texts for example in examples])
        told = [self.right_sentences(example, head) for example in examples]
        best = [[example.texts[number] for number in some] for example, some in zip(examples, told, strict=True)]
        pairs = zip(examples, middle, strict=True)
        return {
            f"Lead-{head.sentences}": [self._lead(example, head) for example in examples],
            "TF-IDF centroid": [self._chosen(example, scores, head) for example, scores in pairs],
            "oracle (a ceiling)": [{"summary": join_sentences(some)} for some in best],
        }

    @staticmethod
    def _lead(example: Example, head: TaskHead) -> dict[str, Any]:
        return {"summary": join_sentences(example.texts[: head.sentences])}


def encode_sentences(tokenizer: Tokenizer, sentences: Sequence[str], *, length: int) -> Encoded:
    """Sentences end to end, each in the frame of one text, as many as fit whole, and of the first what fits; `at`
    [S, 2] are the first and last tokens of their frames. What is cut counts the tokens of all that is left out."""
    (before, after), second = tokenizer.frame.one, tokenizer.frame.second
    tokens: list[int] = []
    segments: list[int] = []
    at: list[tuple[int, int]] = []
    cut = 0
    for number, sentence in enumerate(sentences):
        own = tokenizer.encode(sentence)
        room = length - len(tokens) - len(before) - len(after)
        if cut or (len(own) > room and number):
            cut += len(own)
            continue
        cut += max(0, len(own) - room)
        framed = [*before, *own[:room], *after] or [*tokenizer.nothing]
        at.append((len(tokens), len(tokens) + len(framed) - 1))
        tokens += framed
        segments += [second * (number % 2)] * len(framed)
    columns = np.array([tokens, segments], dtype=np.int32)
    return Encoded(columns[0], columns[1], np.array(at), np.arange(len(at)), cut)


def _read_sentences(record: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    value = columns.value(record, "text")
    if isinstance(value, list):
        if not value or not all(isinstance(one, str) and one.strip() for one in value):
            raise BadField(columns.names["text"], f"a text, or a list of sentences, got {value!r:.80}")
        return tuple(value)
    return tuple(split_sentences(columns.text(record, "text")))


def _reference(record: Mapping[str, Any], columns: Columns, sentences: Sequence[str]) -> Reference:
    column, value = columns.names["summary"], columns.value(record, "summary")
    if not isinstance(value, list):
        value = [columns.text(record, "summary")]
    if value and all(isinstance(one, str) for one in value):
        if wrong := [text for text in value if not rouge_tokens(text)]:
            raise BadField(column, f"a summary with a word in it, got {wrong[0]!r:.80}")
        return Reference(tuple(value))
    if not value or not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        raise BadField(column, f"a summary, a list of them, or one of numbers of sentences, got {value!r:.80}")
    if odd := [one for one in value if not 0 <= one < len(sentences)]:
        raise BadField(column, f"numbers of sentences, 0 to {len(sentences) - 1}, got {odd[0]}")
    numbers = tuple(sorted({*value}))
    return Reference((join_sentences([sentences[number] for number in numbers]),), numbers)
