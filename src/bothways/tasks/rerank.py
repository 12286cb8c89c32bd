"""Texts in the order in which they answer a query: a cross-encoder reads the query with each (Nogueira and Cho 2019).

Letters: K candidates of a query.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import DataError, UsageError
from bothways.model import TaskHead
from bothways.tasks.encoding import encode_texts
from bothways.tasks.predictions import expected
from bothways.tasks.records import NAMES, BadField, Columns
from bothways.tasks.rouge import rouge_tokens
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside, file_of
from bothways.text import Tokenizer

DEPTH = 10
"""Places that count."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The numbers of the candidates, from 0, the best first; and of each, in the order given, how likely it belongs to
    the query."""

    order: list[int]
    scores: list[float]


class Rerank(Task):
    """Records hold a query with a text and its label; or with a text that belongs to it and those that do not; or with
    candidates and their labels. A label is from 0, no, to 1, yes. Records of the same query are ranked together."""

    name, metric, items_say = "rerank", "mrr@10", "at which place the first right text stands"
    also = ("regress",)

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """query, and candidates with relevances, or positive and negatives, or candidate and relevance."""
        if {"candidates", *NAMES["candidates"]} & {*fields}:
            needed = ("query", "candidates", "relevances")
        elif {"negatives", *NAMES["negatives"]} & {*fields}:
            return ("query", "positive", "negatives"), ("id",)
        else:
            needed = ("query", "candidate", "relevance")
        return needed if gold else needed[:2], ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A query and its candidates; gold is how much each belongs to it, from 0 to 1."""
        query, labels = columns.text(record, "query"), None
        if "negatives" in columns.names:
            right, wrong = _texts(record, columns, "positive"), _texts(record, columns, "negatives")
            candidates, labels = [*right, *wrong], [1.0] * len(right) + [0.0] * len(wrong)
        elif "candidates" in columns.names:
            candidates = _texts(record, columns, "candidates")
            labels = _relevances(record, columns, "relevances", len(candidates)) if gold else None
        else:
            candidates = [columns.text(record, "candidate")]
            labels = _relevances(record, columns, "relevance", 1) if gold else None
        told = tuple(labels) if gold and labels is not None else None
        return Example(columns.id(record, number), (query, *candidates), told, place, sealed=(query,))

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """One logit for a query with a candidate."""
        if len({label for example in examples for label in example.gold}) < 2:
            raise DataError(
                f"{file_of(examples)}: expected candidates that belong to their query and others that do not, got them "
                "all alike"
            )
        return TaskHead(self.name, "label", ("relevance",), "relevance", reads, texts=2)

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """Of a query and its candidates."""
        if not isinstance(inputs, tuple) or len(inputs) != 2 or not isinstance(inputs[1], list):
            raise UsageError(f"rerank: expected a query and a list of texts, got {inputs!r:.60}")
        query, candidates = inputs
        if not candidates:
            raise UsageError("expected a text or more to rank, got none")
        return Example(0, (query, *candidates), None, "")

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """A pair for each candidate."""
        query, *candidates = example.texts
        labels = [None] * len(candidates) if example.gold is None else [[[np.float32(one)]] for one in example.gold]
        return [
            encode_texts(tokenizer, expected((query, one), head), length=length).sample(head, label)
            for one, label in zip(candidates, labels, strict=True)
        ]

    def decode(self, example: Example, output: Output) -> Ranking:
        """The candidates by their logits; of equals the first."""
        logits = np.array([one[0, 0] for one in output.logits], dtype=np.float64)
        return Ranking(np.argsort(-logits, kind="stable").tolist(), (1 / (1 + np.exp(-logits))).tolist())

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A wrong text before the first right one, by how much surer of it the model is."""
        grades, scores = np.array(example.gold), np.array(prediction["scores"])
        if not grades.any() or grades.all():
            return None
        first, right = prediction["order"][0], int(np.where(grades > 0, scores, -1).argmax())
        if grades[first] > 0:
            return None
        return float(scores[first] - scores[right]), beside(example.texts[1 + right], example.texts[1 + first])

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """Mean reciprocal rank of the first right candidate, and NDCG with the labels as gains, of ten places each.

        Raises:
            DataError: no query has candidates that belong to it beside others.
        """
        self.check_scored(examples)
        return self.scores_of(examples, predictions, head)(range(len(examples)))

    def check_scored(self, examples: Sequence[Example]) -> None:
        """
        Raises:
            DataError: no query has candidates that belong to it beside others.
        """
        if not any(_can_be_ranked(np.concatenate([examples[i].gold for i in some])) for some in _records(examples)):
            raise DataError(
                f"{file_of(examples)}: expected a query with candidates that belong to it and others that do not, got "
                "none: nothing can be ranked"
            )

    def scores_of(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> Callable[[Sequence[int]], dict[str, float]]:
        """A query is drawn where the first of its records is; those of which all candidates are alike have no score."""
        found = _by_query(examples, predictions)

        def drawn(numbers: Sequence[int]) -> dict[str, float]:
            some = found[np.asarray(numbers)]
            some = some[~np.isnan(some[:, 0])]
            mean = some.mean(0) if len(some) else np.full(2, np.nan)
            return {f"mrr@{DEPTH}": float(mean[0]), f"ndcg@{DEPTH}": float(mean[1])}

        return drawn

    def items(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> tuple[np.ndarray, np.ndarray]:
        """The reciprocal rank of a query at the first of its records; the others, and queries without a score, weigh
        nothing."""
        ranks = _by_query(examples, predictions)[:, 0]
        return np.nan_to_num(ranks), (~np.isnan(ranks)).astype(np.float64)

    def baselines(self, examples: Sequence[Example], head: TaskHead) -> dict[str, Predictions]:
        """By the words that query and candidate have in common: the cosine of their TF-IDF vectors."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer=rouge_tokens)
        every = list(dict.fromkeys(text for example in examples for text in example.texts))
        if not any(map(rouge_tokens, every)):
            return {}
        number = {text: place for place, text in enumerate(every)}
        vectors = vectorizer.fit_transform(every)
        ruled = []
        for example in examples:
            query, *candidates = (number[text] for text in example.texts)
            ruled.append({"scores": (vectors[candidates] @ vectors[query].T).toarray()[:, 0].tolist()})
        return {"TF-IDF": ruled}


def reciprocal_rank(grades: np.ndarray, scores: np.ndarray) -> float:
    """One over the place of the first candidate with a grade above 0, [K] each; 0 beyond the first ten. Of candidates
    with equal scores, its place is the mean over their orders."""
    best = scores[grades > 0].max()
    level = scores == best
    right = int((level & (grades > 0)).sum())
    place = 1 + int((scores > best).sum()) + (int(level.sum()) - right) / (right + 1)
    return 1 / place if place <= DEPTH else 0.0


def ndcg(grades: np.ndarray, scores: np.ndarray) -> float:
    """As scikit-learn counts it: gains are the grades, places are discounted by the logarithm, ties are averaged."""
    from sklearn.metrics import ndcg_score

    return float(ndcg_score(grades[None], scores[None], k=DEPTH))


def _by_query(examples: Sequence[Example], predictions: Predictions) -> np.ndarray:
    """[E, 2] reciprocal rank and NDCG of each query, at the first of its records; nan at all others, and where all its
    candidates are alike."""
    found = np.full((len(examples), 2), np.nan)
    for first, grades, scores in _queries(examples, predictions):
        if _can_be_ranked(grades):
            found[first] = reciprocal_rank(grades, scores), ndcg(grades, scores)
    return found


def _can_be_ranked(grades: np.ndarray) -> bool:
    """Whether some of a query's candidates belong to it more than others."""
    return bool(grades.any() and not (grades == grades[0]).all())


def _records(examples: Sequence[Example]) -> Iterable[list[int]]:
    """The numbers of the records of each query."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        found[" ".join(example.texts[0].split())].append(number)
    return found.values()


def _queries(examples: Sequence[Example], predictions: Predictions) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of each query, the number of its first record, the grades [K] and the scores [K] of its candidates."""
    return [
        (
            some[0],
            np.array([grade for number in some for grade in examples[number].gold]),
            np.array([score for number in some for score in predictions[number]["scores"]]),
        )
        for some in _records(examples)
    ]


def _texts(record: Mapping[str, Any], columns: Columns, role: str) -> list[str]:
    """One text, or a list of them."""
    value = columns.value(record, role)
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one.strip() for one in found):
        raise BadField(columns.names[role], f"a text, or a list of texts, got {value!r:.80}")
    return found


def _relevances(record: Mapping[str, Any], columns: Columns, role: str, count: int) -> list[float]:
    """As many labels from 0 to 1."""
    column, value = columns.names[role], columns.value(record, role)
    some = value if isinstance(value, list) else [value]
    if len(some) != count:
        raise BadField(column, f"a label for each of {count} candidates, got {value!r:.80}")
    try:
        found = [float(one) for one in some]
    except (TypeError, ValueError, OverflowError):
        found = [math.nan]
    if not all(0 <= one <= 1 for one in found):
        raise BadField(column, f"labels from 0, no, to 1, yes, got {value!r:.80}; divide grades by the highest")
    return found
