"""What a task is: how records are read, what is said of them, and how good that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bothways.corpus.lines import Skip
from bothways.inference.examples import Encoded
from bothways.inference.relating import Pair
from bothways.inference.words import Words
from bothways.model import Answers
from bothways.model.answers import Head
from bothways.tasks.records import Columns
from bothways.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Example:
    """One record.

    id     what it is called, or its number
    texts  one text or two; for tags, the text that the words stand in
    words  for tags: the words
    pair   for a relation: the two things
    """

    id: Any
    texts: tuple[str, ...]
    gold: Any
    place: str
    words: Words | None = None
    pair: Pair | None = None

    def leave_out(self, skip: Skip, why: str) -> None:
        """
        Raises:
            DataError: unless what is wrong is skipped.
        """
        file, _, line = self.place.rpartition(", line ")
        skip(Path(file), int(line), why)


def file_of(examples: Sequence[Example]) -> str:
    """Where they were read."""
    return examples[0].place.rpartition(", line ")[0]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model said of one example: its parts, the logits [N, C] of each, and how to read them."""

    parts: Sequence[Encoded]
    logits: Sequence[np.ndarray]
    answers: Answers
    tokenizer: Tokenizer


class Task(ABC):
    """A kind of question. What was learned of the labels is in `Answers`.

    name    what it is called
    metric  what the best epoch is chosen by; larger is better
    heads   those that may answer, where there are several; the first is taken unless another is asked for
    key     the field of an answer that holds the label; empty where it says none (a number, a span)
    items_say  what `items` counts, in words; empty where the score is made of all examples at once (a correlation)
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    heads: ClassVar[tuple[Head, ...]] = ()
    items_say: ClassVar[str] = "how many are right"
    key: ClassVar[str] = ""

    def like(self, answers: Answers) -> Task:
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

    def reading(self, answers: Answers) -> str:
        """How a model's labels are read, where that was decided from them; empty: there is nothing to decide."""
        return ""

    def fitting(self, examples: Sequence[Example], skip: Skip) -> list[Example]:
        """Those whose right answers go together.

        Raises:
            DataError: some that do not, unless such are skipped.
        """
        return [*examples]

    @abstractmethod
    def answers(self, examples: Sequence[Example], *, reads: str) -> Answers:
        """What can be said, going by the training examples.

        Raises:
            DataError: nothing to tell apart.
        """

    @abstractmethod
    def check(self, example: Example, answers: Answers) -> str | None:
        """What is wrong with an example's gold answer for a model that says `answers`; None: nothing."""

    @abstractmethod
    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        """The example as tokens: one part, or several where all of a long text is to be answered.

        Raises:
            UsageError: an example that cannot be read, or its right answer not be learned.
        """

    @abstractmethod
    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        """What is said of an example, as it is written to a file: {"label": ..., ...}."""

    @abstractmethod
    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        """{metric: value}, the task's own first."""

    def scores_of(
        self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers
    ) -> Callable[[Sequence[int]], dict[str, float]]:
        """What gives the scores of the examples of some numbers, of which one may stand there several times."""
        return lambda drawn: self.score([examples[i] for i in drawn], [said[i] for i in drawn], answers)

    def items(
        self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers
    ) -> tuple[np.ndarray, np.ndarray]:
        """Value and weight of every example, [E] each; a score is the sum of values over the sum of weights."""
        right = [self.told(one) == example.gold for example, one in zip(examples, said, strict=True)]
        return np.array(right, dtype=np.float64), np.ones(len(right))

    def told(self, one: Mapping[str, Any]) -> Any:
        """What was said of an example, as its gold would say it."""
        value = one[self.key]
        return tuple(value) if isinstance(value, list) else value

    def always(self, golds: Sequence[Any]) -> list[dict[str, Any]]:
        """What is said where the commonest of some right answers is given to each."""
        (common, _), *_ = Counter(golds).most_common(1)
        return [{self.key: list(common) if isinstance(common, tuple) else common}] * len(golds)

    def different(self, golds: Sequence[Any]) -> set[Any]:
        """The different labels in some right answers, or in what was said, as `told` has it."""
        return {*golds}
