"""A text for a text: a summary, a translation, a question to an answer. The model writes; nothing is told apart.

A record holds a source and a target, or several targets that are all right: the first is trained, and the best of them
counts. The presets differ in the metric that the best epoch is chosen by, and in how long a target may be.

Letters: P tokens of the prompt, T of the whole row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bothways.batch import Sample, Target
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.model.abilities import WORDS
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task
from bothways.tasks.text_scores import TextScores
from bothways.text import Tokenizer
from bothways.visibility import Layout


class WritingTask(Task):
    """Records hold source and target, or a list of targets.

    longest  tokens of a target at most, unless a run says otherwise
    """

    key, writes = "", True
    items_say = "how alike the text is to the reference (ROUGE-L)"
    longest: ClassVar[int]

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """source, and where gold is known target."""
        return ("source", "target") if gold else ("source",), ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A source; gold is a tuple of targets."""
        targets: Any = None
        if gold:
            name, value = columns.names["target"], columns.value(record, "target")
            # JSON in a table is several targets where it is a list of texts; else it is what is to be written.
            targets = tuple(value) if isinstance(value, list) and _texts(value) else (record.get(name),)
            if not _texts(targets):
                raise BadField(name, f"a text, or a list of texts, got {record.get(name)!r:.80}")
        return Example(columns.id(record, number), (columns.text(record, "source"),), targets, place)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """The words' own; how the model writes is said by the run."""
        return TaskHead(self.name, WORDS, (), "text", reads, texts=1)

    def check(self, example: Example, head: TaskHead) -> str | None:
        """Any text may be right."""
        return None

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """A source.

        Raises:
            UsageError: something that is no text.
        """
        if not isinstance(inputs, str) or not inputs.strip():
            raise UsageError(f"{self.name}: expected a text to write for, got {inputs!r:.60}")
        return Example(0, (inputs,), None, "")

    def limit(self, length: int) -> str:
        """In words: the target has its share of what the model reads."""
        return f"what the {length} tokens that the model reads leave for a source"

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The prompt, and where the target is known the target behind it, each of whose tokens is predicted by the one
        before; segments tell them apart. An objective reads other samples from this one.

        Raises:
            UsageError: a source without a token, or a target without one or longer than the model writes.
        """
        writes, source = head.writes, tokenizer.encode(example.texts[0])
        assert writes is not None
        if not source:
            raise UsageError("expected a source, got one of which the tokenizer keeps nothing")
        target: list[int] = []
        if example.gold is not None:
            target = tokenizer.encode(example.gold[0])
            if not 0 < len(target) < writes.target:
                raise UsageError(
                    f"expected a target of 1 to {writes.target - 1} tokens, got {len(target)}. The longest is a "
                    "setting: --set target_length=TOKENS"
                )
            target = [*target, writes.end]
        cut = max(0, len(source) - writes.room(length))
        return [laid(writes.prompt(source, length), target, name=self.name, cut=cut)]

    def decode(self, example: Example, output: Output) -> dict[str, Any]:
        """The text, its log-probability in nats, and others where several were asked for."""
        assert output.logprob is not None
        text, *others = output.texts
        return {"text": text, "logprob": round(output.logprob, 4), **({"others": others} if others else {})}

    def record(self, example: Example, text: str) -> dict[str, Any]:
        """An example with what was written for it, as a record to teach another model by."""
        return {"source": example.texts[0], "target": text}

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """None: a text is better or worse, and the page of a run shows both."""
        return None

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """ROUGE, BLEU, chrF and more, the task's own first; see `TextScores`."""
        return self.scores_of(examples, predictions, head)(range(len(examples)))

    def scores_of(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> Callable[[Sequence[int]], dict[str, float]]:
        """The same of some of the examples; what takes long is counted once."""
        sources = [example.texts[0] for example in examples]
        found = TextScores([one["text"] for one in predictions], [example.gold for example in examples], sources)

        def of(drawn: Sequence[int]) -> dict[str, float]:
            scores = found(drawn)
            return {self.metric: scores[self.metric], **scores}

        return of

    def items(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> tuple[np.ndarray, np.ndarray]:
        """ROUGE-L of each example, with weight 1."""
        sources = [example.texts[0] for example in examples]
        scores = TextScores([one["text"] for one in predictions], [example.gold for example in examples], sources)
        return scores.rouge_of_each, np.ones(len(examples))


def _texts(value: Collection[Any]) -> bool:
    return bool(value) and all(isinstance(one, str) and one.strip() for one in value)


def laid(prompt: Sequence[int], target: Sequence[int], *, name: str, cut: int = 0) -> Sample:
    """A target behind its prompt, each of its tokens predicted by the one before; segments tell them apart. Without a
    target, the place where it is to be predicted."""
    tokens = [*prompt, *target]
    return taught(tokens, np.arange(len(tokens)) >= len(prompt), name=name, cut=cut)


def taught(tokens: Sequence[int], said: np.ndarray, *, name: str, cut: int = 0) -> Sample:
    """Tokens [T] with the targets where something is `said` [T]; where nothing is, the last place stands for them."""
    row, place = np.array(tokens, dtype=np.int32), np.arange(len(tokens))
    at = np.flatnonzero(said) - 1 if said.any() else place[-1:]
    labels = np.append(row, row[-1:])[at + 1].astype(np.int64)
    layout = Layout.of(document=np.zeros_like(place), step=place, position=place, segment=said.astype(np.int32))
    return Sample(row, layout, (Target(WORDS, at, labels, name=name),), cut)


class Text2Text(WritingTask):
    """Any text for any text."""

    name, metric, longest = "text2text", "rougeL", 128


class Summarise(WritingTask):
    """A short text for a long one."""

    name, metric, longest = "summarise", "rougeL", 128


class Translate(WritingTask):
    """A text in another language."""

    name, metric, longest = "translate", "chrf", 192


class QuestionGeneration(WritingTask):
    """A question that a text answers."""

    name, metric, longest = "question-generation", "rougeL", 64
