"""A vector for a text, near those of texts that belong to it: contrastive training, STS and retrieval scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import DataError
from bothways.model import TaskHead
from bothways.statistics import pearson, spearman
from bothways.tasks.encoding import encode_texts
from bothways.tasks.records import Columns
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside, file_of
from bothways.text import Tokenizer


class Embed(Task):
    """Records hold a text and another that belongs to it, and perhaps one that does not (text, positive, negative); or
    two texts and how alike they are, as a score. The others of a batch are what a text does not belong to."""

    name, metric, items_say = "embed", "spearman or mrr", ""

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """text and positive, perhaps negative or likeness; to be embedded, text alone or a pair."""
        if not gold:
            return ("text",), ("positive", "id")
        return ("text", "positive"), ("negative", "likeness", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """One to three texts; gold is the likeness, where there is one."""
        needed, optional = self.roles((), gold=gold)
        texts = tuple(
            columns.text(record, role)
            for role in ("text", "positive", "negative")
            if role in needed or (role in optional and columns.has(record, role))
        )
        score = columns.number(record, "likeness") if gold and "likeness" in columns.names else None
        return Example(columns.id(record, number), texts, score, place)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """A vector; with likenesses, the smallest and the largest of them."""
        scores = [example.gold for example in examples]
        if scores[0] is None:
            if len(examples) < 2:
                raise DataError(
                    f"{file_of(examples)}: expected two pairs or more: a text is compared with those of the others"
                )
            return TaskHead(self.name, "vector", ("0", "1"), "pair", reads)
        if len(set(scores)) < 2:
            raise DataError(f"{file_of(examples)}: expected scores that differ, got one only")
        return TaskHead(self.name, "vector", (f"{min(scores):g}", f"{max(scores):g}"), "likeness", reads)

    def compares(self, head: TaskHead) -> bool:
        """Pairs: what a text does not belong to are the others of the step."""
        return head.kind == "pair"

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """How far a cosine is from the likeness, both from 0 to 1."""
        if example.gold is None:
            return None
        low, high = map(float, head.labels)
        off = abs(prediction["similarity"] - (example.gold - low) / (high - low))
        return off, beside(f"{example.gold:g}", f"a cosine of {prediction['similarity']:.2f}")

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """A part for each text; `labels` [1, 2] are which of the texts it is, and how alike they are, from 0 to 1."""
        low, high = map(float, head.labels)
        alike = 1.0 if example.gold is None else (example.gold - low) / (high - low)
        return [
            encode_texts(tokenizer, (text,), length=length).sample(
                head, np.array([[number, alike]], dtype=np.float32), group=0, weight=1 / len(example.texts)
            )
            for number, text in enumerate(example.texts)
        ]

    def decode(self, example: Example, output: Output) -> dict[str, Any]:
        """The vector of a text, and for a pair the cosine of both."""
        vectors = [one[0] for one in output.logits]
        if len(vectors) == 1:
            return {"vector": vectors[0]}
        return {"similarity": float(_unit(vectors[0]) @ _unit(vectors[1])), "vector": vectors[0], "other": vectors[1]}

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """Of scores, the rank correlation of the cosines with them; else, among all second texts of the file, at which
        place each text finds its own."""
        if examples[0].gold is None:
            return _retrieval(_ranks(examples, predictions))
        golds, found = [example.gold for example in examples], [one["similarity"] for one in predictions]
        return {"spearman": spearman(golds, found), "pearson": pearson(golds, found)}

    def scores_of(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> Callable[[Sequence[int]], dict[str, float]]:
        """The texts that are looked through stay all those of the file: among fewer, each would be found sooner."""
        if examples[0].gold is not None:
            return super().scores_of(examples, predictions, head)
        rank = _ranks(examples, predictions)
        return lambda drawn: _retrieval(rank[drawn])


def _retrieval(rank: np.ndarray) -> dict[str, float]:
    """Mean reciprocal rank, and how often a text's own is the first, or one of ten."""
    return {
        "mrr": float((1 / rank).mean()),
        "recall_at_1": float((rank <= 1).mean()),
        "recall_at_10": float((rank <= 10).mean()),
    }


def _ranks(examples: Sequence[Example], predictions: Predictions) -> np.ndarray:
    """[N] at which place each text finds its own; a text that stands there twice is one candidate."""
    texts = [example.texts[1] for example in examples]
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    own = np.array([number[text] for text in texts])
    first = np.unique(own, return_index=True)[1]
    queries = _unit(np.stack([one["vector"] for one in predictions]))
    candidates = _unit(np.stack([predictions[place]["other"] for place in first]))
    ranks = []
    for begin in range(0, len(queries), 1024):
        cosines = queries[begin : begin + 1024] @ candidates.T
        mine = cosines[np.arange(len(cosines)), own[begin : begin + 1024]]
        ranks.append(1 + (cosines > mine[:, None]).sum(1) + ((cosines == mine[:, None]).sum(1) - 1) / 2)  # ties: half
    return np.concatenate(ranks)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
