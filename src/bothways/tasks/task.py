"""What a task is: how records are read, examples encoded, what a model puts out decoded, and predictions scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bothways.batch import Sample
from bothways.corpus.lines import Skip
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks.labels import labels_in
from bothways.tasks.records import Columns
from bothways.tasks.words import Pair, Words
from bothways.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Example:
    """One record.

    id     what it is called, or its number
    texts  one text or two; for tags, the text that the words stand in
    words  for tags: the words
    pair   for a relation: the two things
    sealed  the texts by which it is held out, and known again in another file; left out, all
    messages  of a conversation: what was said before its answer
    soft   {label: its share}, taught in place of the gold label
    """

    id: Any
    texts: tuple[str, ...]
    gold: Any
    place: str
    words: Words | None = None
    pair: Pair | None = None
    sealed: tuple[str, ...] = ()
    messages: tuple[Mapping[str, Any], ...] = ()
    soft: Mapping[str, float] | None = None

    def leave_out(self, skip: Skip, why: str) -> None:
        """
        Raises:
            DataError: unless what is wrong is skipped.
        """
        file, _, line = self.place.rpartition(", line ")
        skip(Path(file), int(line), why)


Predictions = Sequence[dict[str, Any]]
"""As `decode` made them and a file has them: of a dataclass, {field: value}."""


def file_of(examples: Sequence[Example]) -> str:
    """Where they were read."""
    return examples[0].place.rpartition(", line ")[0]


@dataclass(frozen=True, slots=True)
class Output:
    """What a model puts out for one example.

    samples  the example as `encode` made it
    all      of each sample, the logits [N, ...] of each of its targets; none where it generates
    texts    what a model that generates wrote, the best first: one text, or as many as were asked for
    logprob  of the first text, in nats
    """

    samples: Sequence[Sample]
    all: Sequence[Sequence[np.ndarray]]
    head: TaskHead
    tokenizer: Tokenizer
    texts: tuple[str, ...] = ()
    logprob: float | None = None

    @property
    def logits(self) -> list[np.ndarray]:
        """Of each sample, those of its first target."""
        return [targets[0] for targets in self.all]


Mistake = tuple[float, Sequence[tuple[str, str]]]


def beside(right: str, predicted: str) -> Sequence[tuple[str, str]]:
    """A wrong prediction with the right one, as the page of a run shows them."""
    return ("right", right), ("predicted", predicted)


class Task(ABC):
    """A kind of question. What was learned of the labels is in `TaskHead`.

    name    what it is called
    metric  what the best epoch is chosen by; larger is better
    heads   those that may predict, where there are several; the first is taken unless another is named
    writes  the model generates a text for it, which `decode` is given in place of logits
    chats   what it generates for are messages, in the model's chat template
    refers  it is taught by comparing the model with what it was, its reference
    key     the field of a prediction that holds the label, in the form of a gold answer; empty where there is none (a
            number, a span)
    also      tasks whose heads it can read, too
    settings  fields of `TaskHead` that a run's settings of the same name decide
    items_say  what `items` counts, in words; empty where the score is made of all examples at once (a correlation)
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    heads: ClassVar[tuple[str, ...]] = ()
    items_say: ClassVar[str] = "how many are right"
    writes: ClassVar[bool] = False
    chats: ClassVar[bool] = False
    refers: ClassVar[bool] = False
    key: ClassVar[str] = ""
    also: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ()

    def like(self, head: TaskHead) -> Task:
        """This task, with records read as those that a model was taught."""
        return self

    @abstractmethod
    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """The roles that columns must have and those that they may have, given the names of the columns."""

    @abstractmethod
    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A record as an example; without `gold`, nobody knows the answer.

        Raises:
            BadField: a field that is not what is needed.
        """

    def reading(self, head: TaskHead) -> str:
        """How a model's labels are read, where that was decided from them; empty: there is nothing to decide."""
        return ""

    def fitting(self, examples: Sequence[Example], skip: Skip) -> list[Example]:
        """Those whose right answers go together.

        Raises:
            DataError: some that do not, unless such are skipped.
        """
        return [*examples]

    @abstractmethod
    def head(self, examples: Sequence[Example], *, reads: str) -> TaskHead:
        """What can be predictions, going by the training examples.

        Raises:
            DataError: nothing to tell apart.
        """

    def prepare(self, module: Any, examples: Sequence[Example]) -> None:
        """Changes a new head, before it is trained on these examples."""
        del module, examples  # nothing, unless a task does

    def compares(self, head: TaskHead) -> bool:
        """Whether the loss compares the examples of a step, which are then one batch."""
        return False

    def check_scored(self, examples: Sequence[Example]) -> None:  # noqa: B027 # most tasks score whatever there is
        """
        Raises:
            DataError: examples of which no score can be made.
        """

    def check(self, example: Example, head: TaskHead) -> str | None:
        """What is wrong with an example's gold answer for a model with this head; None: nothing.

        Here for tasks whose right answers are labels, or tuples of them.
        """
        new = next((label for label in labels_in(example.gold) if label not in head.labels), None)
        return None if new is None else f"the label {new!r} was not trained; known: {', '.join(head.labels)}"

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """An example of what Python hands over, a text or a tuple of them, without a gold answer.

        Raises:
            UsageError: something that is no such thing.
        """
        texts = inputs if isinstance(inputs, tuple) else (inputs,)
        if not texts or not all(isinstance(text, str) for text in texts):
            raise UsageError(f"{self.name}: expected a text, or a tuple of them, got {inputs!r:.60}")
        return Example(0, texts, None, "")

    def limit(self, length: int) -> str:
        """What an example is cut to, in words."""
        return f"the {length} tokens that the model reads"

    @abstractmethod
    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The example as a sample, or as several where a long text is read in parts; without gold, its labels are of no
        meaning. Targets may be of any head of the model, in any layout.

        Raises:
            UsageError: an example that cannot be read, or its right answer not be learned.
        """

    @abstractmethod
    def decode(self, example: Example, output: Output) -> Any:
        """The prediction: a dataclass, or {"label": ..., ...}, as it is written to a file."""

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """How far off a prediction is, larger is worse, and what to show of it; None: it is right.

        Here for tasks whose predictions hold a label, and perhaps the probability of each; without a label, nothing is
        known to be wrong.
        """
        if not self.key or (label := self.predicted(prediction)) == example.gold:
            return None
        sure = prediction.get("probabilities", {}).get(label)
        return sure or 0.0, beside(str(example.gold), str(label) if sure is None else f"{label} ({sure:.0%} sure)")

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """{metric: value}, the task's own first."""

    def scores_of(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> Callable[[Sequence[int]], dict[str, float]]:
        """What gives the scores of the examples of some numbers, of which one may stand there several times."""
        score = getattr(type(self).score, "__wrapped__", type(self).score)  # of a few examples it may be nan
        return lambda drawn: score(self, [examples[i] for i in drawn], [predictions[i] for i in drawn], head)

    def items(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> tuple[np.ndarray, np.ndarray]:
        """Value and weight of every example, [E] each; a score is the sum of values over the sum of weights."""
        right = self.right(examples, predictions)
        return right, np.ones(len(right))

    def right(self, examples: Sequence[Example], predictions: Predictions) -> np.ndarray:
        """[E] 1 where the prediction is the gold answer, 0 elsewhere."""
        pairs = zip(examples, predictions, strict=True)
        return np.array([self.predicted(one) == example.gold for example, one in pairs], dtype=np.float64)

    def predicted(self, one: Mapping[str, Any]) -> Any:
        """A prediction in the form of a gold answer."""
        value = one[self.key]
        return tuple(value) if isinstance(value, list) else value

    def by_class(self, gold: Any, head: TaskHead) -> dict[str, list[tuple[str, Any]]]:
        """What a right answer, or a prediction in the form of one, says of each class: {what is counted: [(a class,
        where in the example)]}. Here of tasks whose answers are labels; others count nothing."""
        return {"examples": [(label, None) for label in labels_in(gold)]}

    def always(self, golds: Sequence[Any]) -> list[dict[str, Any]]:
        """The predictions where the commonest of some right answers is given to each."""
        (common, _), *_ = Counter(golds).most_common(1)
        return [{self.key: list(common) if isinstance(common, tuple) else common}] * len(golds)

    def baselines(self, examples: Sequence[Example], head: TaskHead) -> dict[str, Predictions]:
        """{name: predictions of a rule that learned nothing}, which stand beside a model's."""
        del examples, head  # none, unless a task has some
        return {}

    def different(self, golds: Sequence[Any]) -> set[Any]:
        """The different labels in some right answers, or in predictions in the form of such."""
        return {*golds}
