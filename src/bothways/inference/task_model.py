"""The Python face of a fine-tuned model: a method for each task whose predictions are no texts of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Unpack, overload

import numpy as np

from bothways.arguments import Texts, all_checked, at_least, gone_through, several, several_or_pairs
from bothways.inference.asking import Batching, Pairs, Text, batched
from bothways.inference.engine import Engine
from bothways.inference.pipeline import predict
from bothways.tasks.answer import Span
from bothways.tasks.choose import Choice
from bothways.tasks.classify import Number
from bothways.tasks.extract import Extraction
from bothways.tasks.intent import Intended
from bothways.tasks.predictions import Label
from bothways.tasks.rerank import Ranking
from bothways.tasks.tag import Tagged

LEFT_OUT = {"batch_size": None, "progress": False, "head": None}
"""What is taken where a keyword is left out."""


@partial(all_checked, defaults=LEFT_OUT)
class TaskModel:
    """What a model was fine-tuned to predict; `LanguageModel` has all of it.

    Raises (all methods):
        ModelError: the model was not fine-tuned to that task.
        UsageError: what is no text.
    """

    __slots__ = ()
    engine: Engine

    def predict(
        self, task: str, inputs: Iterable[Any], *, head: str | None = None, **batching: Unpack[Batching]
    ) -> list[Any]:
        """Predictions of any task that the model was fine-tuned to, one's own too, for a list of what the task takes: a
        text or a tuple of them.

        Args:
            head: by its name, where several heads were trained to the task.
        """
        given = gone_through(inputs, "a list of what the task takes, each a text or a tuple of them")
        return self._predicted(task, given, head, batching)

    def _predicted(
        self, task: str, inputs: Sequence[Any], head: str | None, batching: Batching, **changes: Any
    ) -> list[Any]:
        return predict(batched(self.engine, len(inputs), batching), task, inputs, head=head, **changes)

    @overload
    def classify(self, texts: Text, *, head: str | None = None) -> Label: ...
    @overload
    def classify(self, texts: Pairs, *, head: str | None = None, **batching: Unpack[Batching]) -> list[Label]: ...
    def classify(
        self, texts: Text | Pairs, *, head: str | None = None, **batching: Unpack[Batching]
    ) -> Label | list[Label]:
        """The label of a text or of a pair (Label: label, probabilities); of a model fine-tuned to classify."""
        found = self._predicted("classify", several_or_pairs(texts), head, batching)
        return found[0] if isinstance(texts, str | tuple) else found

    @overload
    def regress(self, texts: Text, *, head: str | None = None) -> float: ...
    @overload
    def regress(self, texts: Pairs, *, head: str | None = None, **batching: Unpack[Batching]) -> np.ndarray: ...
    def regress(
        self, texts: Text | Pairs, *, head: str | None = None, **batching: Unpack[Batching]
    ) -> float | np.ndarray:
        """The number of a text or of a pair, float32 [texts] of several; of a model fine-tuned to regress."""
        scores: list[Number] = self._predicted("regress", several_or_pairs(texts), head, batching)
        found = np.array([one.score for one in scores], dtype=np.float32)
        return float(found[0]) if isinstance(texts, str | tuple) else found

    @overload
    def tag(self, texts: str, *, head: str | None = None) -> Tagged: ...
    @overload
    def tag(self, texts: Texts, *, head: str | None = None, **batching: Unpack[Batching]) -> list[Tagged]: ...
    def tag(
        self, texts: str | Texts, *, head: str | None = None, **batching: Unpack[Batching]
    ) -> Tagged | list[Tagged]:
        """The words of a text with their tags and the names they make up; of a model fine-tuned to tag."""
        found = self._predicted("tag", several(texts), head, batching)
        return found[0] if isinstance(texts, str) else found

    @overload
    def intent(self, texts: str, *, head: str | None = None) -> Intended: ...
    @overload
    def intent(self, texts: Texts, *, head: str | None = None, **batching: Unpack[Batching]) -> list[Intended]: ...
    def intent(
        self, texts: str | Texts, *, head: str | None = None, **batching: Unpack[Batching]
    ) -> Intended | list[Intended]:
        """What a text is for and the slots of its words (Intended: as Tagged, with intent and intent_probability); of a
        model fine-tuned to intent."""
        found = self._predicted("intent", several(texts), head, batching)
        return found[0] if isinstance(texts, str) else found

    @overload
    def relate(self, texts: str, *, head: str | None = None) -> Label: ...
    @overload
    def relate(self, texts: Texts, *, head: str | None = None, **batching: Unpack[Batching]) -> list[Label]: ...
    def relate(
        self, texts: str | Texts, *, head: str | None = None, **batching: Unpack[Batching]
    ) -> Label | list[Label]:
        """How the two things of a text are related, "The <e1>company</e1> makes <e2>chairs</e2>."; of a model
        fine-tuned to relate."""
        found = self._predicted("relate", several(texts), head, batching)
        return found[0] if isinstance(texts, str) else found

    def answer(self, question: str, context: str, *, head: str | None = None) -> Span:
        """The span of the context that answers (Span: text, start, end, probability, margin), or none; of a model
        fine-tuned to answer."""
        found: Span = self._predicted("answer", [(question, context)], head, {})[0]
        return found

    def choose(self, question: str, choices: list[str], *, context: str = "", head: str | None = None) -> Choice:
        """Which of the texts (Choice: choice, probabilities); of a model fine-tuned to choose."""
        inputs = (question, several(choices, "choice"), context)
        found: Choice = self._predicted("choose", [inputs], head, {})[0]
        return found

    def rerank(self, query: str, texts: Texts, *, head: str | None = None, **batching: Unpack[Batching]) -> Ranking:
        """The texts in the order in which they answer the query (Ranking: order, scores); of a model fine-tuned to
        rerank, or of a published cross-encoder with one number."""
        found: Ranking = self._predicted("rerank", [(query, several(texts))], head, batching)[0]
        return found

    @overload
    def extract(self, texts: str, *, sentences: int | None = None, head: str | None = None) -> Extraction: ...
    @overload
    def extract(
        self, texts: Texts, *, sentences: int | None = None, head: str | None = None, **batching: Unpack[Batching]
    ) -> list[Extraction]: ...
    def extract(
        self, texts: str | Texts, *, sentences: int | None = None, head: str | None = None, **batching: Unpack[Batching]
    ) -> Extraction | list[Extraction]:
        """The sentences of a text that make up its summary (Extraction: sentences, summary, scores), at most so many;
        None: as many as was set when the model was fine-tuned to extract."""
        at_least(1, "sentences", sentences, "how many make up a summary")
        changes = {} if sentences is None else {"sentences": sentences}
        found = self._predicted("extract", several(texts), head, batching, **changes)
        return found[0] if isinstance(texts, str) else found
