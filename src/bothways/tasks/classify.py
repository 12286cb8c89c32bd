"""Classes of a text or of two, one or several of them; and how alike two texts are, or how good one is, as a number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bothways.batch import Sample
from bothways.errors import DataError
from bothways.model import TaskHead
from bothways.statistics import pearson, spearman
from bothways.tasks.encoding import encode_texts
from bothways.tasks.labels import label_name, natural
from bothways.tasks.predictions import Label, expected, label_of, labels_of
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside, file_of
from bothways.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    score: float


class Classify(Task):
    """One class of two or more; several where the label is a list."""

    name, metric, key = "classify", "accuracy", "label"
    heads = ("label", "san")

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """text, perhaps other, and where gold is known label, perhaps soft: a share of each label."""
        return (("text", "label"), ("other", "id", "soft")) if gold else (("text",), ("other", "id"))

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A text or a pair; gold is a label, or a tuple of them where several may be right. Soft labels are taught in
        its place, and gold is what is measured by."""
        value: Any = None
        if gold:
            value = columns.value(record, "label")
            names = [label_name(one) for one in (value if isinstance(value, list) else [value])]
            if None in names:
                raise BadField(columns.names["label"], f"a label, or a list of them, got {value!r}")
            value = tuple(sorted({name for name in names if name})) if isinstance(value, list) else names[0]
        example = _example(record, columns, value, place=place, number=number)
        if not gold or "soft" not in columns.names:
            return example
        if isinstance(value, tuple):
            raise BadField(columns.names["soft"], "no soft labels beside a list of labels")
        return replace(example, soft=columns.shares(record, "soft"))

    def right(self, examples: Sequence[Example], predictions: Predictions) -> np.ndarray:
        """[E] 1 where the label, or all of several, whatever their order, are the gold ones."""

        def plain(answer: Any) -> Any:
            return frozenset(answer) if isinstance(answer, tuple) else answer

        pairs = zip(examples, predictions, strict=True)
        return np.array([plain(self.predicted(one)) == plain(example.gold) for example, one in pairs], dtype=np.float64)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """All labels of the training examples, in alphabetical order."""
        several = isinstance(examples[0].gold, tuple)
        if odd := next((example for example in examples if isinstance(example.gold, tuple) != several), None):
            raise DataError(f"{odd.place}: expected {'lists of labels' if several else 'one label'}, as in the others")
        labels = {label for example in examples for label in (example.gold if several else (example.gold,))}
        labels |= {label for example in examples for label in example.soft or ()}
        if len(labels) < (1 if several else 2):
            only = ", ".join(labels) or "none"
            raise DataError(f"{file_of(examples)}: expected two classes or more to tell apart, got only {only!r}")
        kind: Any = "several" if several else "one"
        return TaskHead(self.name, "label", tuple(sorted(labels, key=natural)), kind, reads, len(examples[0].texts))

    def check(self, example: Example, head: TaskHead) -> str | None:
        """Lists of labels and single ones do not mix, and a label must be known."""
        if isinstance(example.gold, tuple) != (head.kind == "several"):
            return f"expected {'a list of labels' if head.kind == 'several' else 'one label'}, got {example.gold!r}"
        if new := next((label for label in example.soft or () if label not in head.labels), None):
            return f"the soft label {new!r} was not trained; known: {', '.join(head.labels)}"
        return super().check(example, head)

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The text or the pair as one sample."""
        texts = expected(example.texts, head)
        encoded = encode_texts(tokenizer, texts, length=length, apart=head.head == "san")
        if isinstance(example.gold, tuple):
            several = np.array([[label in example.gold for label in head.labels]], dtype=np.float32)
            return [encoded.sample(head, several)]
        if example.gold is not None and example.soft:
            return [encoded.sample(head, np.array([[example.soft.get(one, 0.0) for one in head.labels]], np.float32))]
        return [encoded.sample(head, None if example.gold is None else [head.labels.index(example.gold)])]

    def decode(self, example: Example, output: Output) -> Label:
        """The likeliest label, or all that are likely enough."""
        decoded = labels_of if output.head.kind == "several" else label_of
        return decoded(output.logits[0][0], output.head)

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A wrong label by its probability; of several, those that are too many and those missing."""
        if not isinstance(example.gold, tuple):
            return super().mistake(example, prediction, head)
        found = prediction["label"]
        off = [label for label in head.labels if (label in found) != (label in example.gold)]
        sure = max((abs(prediction["probabilities"][label] - 0.5) for label in off), default=0.0)
        return (sure, beside(", ".join(example.gold), ", ".join(found))) if off else None

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """accuracy, f1 (macro), Matthews' correlation; of several labels f1 and exact match. Shares all."""
        from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

        if head.kind == "several":
            return _of_several(
                [example.gold for example in examples], [one["label"] for one in predictions], head.labels
            )
        golds, labels = [example.gold for example in examples], [one["label"] for one in predictions]
        known = sorted({*golds, *labels}, key=natural)
        scores = {
            "accuracy": float(accuracy_score(golds, labels)),
            "macro_f1": float(f1_score(golds, labels, labels=known, average="macro", zero_division=0)),
            "matthews": float(matthews_corrcoef(golds, labels)) if len(known) > 1 else 0.0,
        }
        if len(head.labels) == 2:  # the second is the positive one: "1" of "0" and "1"
            scores["f1"] = float(f1_score(golds, labels, pos_label=head.labels[1], zero_division=0))
        return scores


def _of_several(
    golds: Sequence[Collection[str]], predictions: Sequence[Collection[str]], labels: Sequence[str]
) -> dict[str, float]:
    """As scikit-learn counts them, which takes a single column of labels for two classes."""
    right, found = (np.array([[label in some for label in labels] for some in side]) for side in (golds, predictions))
    both, either = (right & found).sum(0), right.sum(0) + found.sum(0)
    return {
        "accuracy": float((right == found).all(1).mean()),
        "micro_f1": float(2 * both.sum() / max(either.sum(), 1)),
        "macro_f1": float((2 * both / np.maximum(either, 1)).mean()),
    }


class Regress(Task):
    """A number for a text or two: similarity, a rating (STS-B)."""

    name, metric, items_say = "regress", "spearman", ""

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """text, perhaps other, and where gold is known score."""
        return ("text", "score") if gold else ("text",), ("other", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A text or a pair; gold is a number."""
        value = columns.number(record, "score") if gold else None
        return _example(record, columns, value, place=place, number=number)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """One number."""
        if len({example.gold for example in examples}) < 2:
            raise DataError(f"{file_of(examples)}: expected numbers that differ, got one number only")
        return TaskHead(self.name, "label", ("score",), "number", reads, len(examples[0].texts))

    @torch.no_grad()
    def prepare(self, module: Any, examples: Sequence[Example]) -> None:
        """A number begins at the mean of the training examples': else the first steps go into finding it."""
        if module.out.bias is not None:
            module.out.bias.fill_(float(np.mean([example.gold for example in examples])))

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """How far a number is from the right one, in its units."""
        off = abs(prediction["score"] - example.gold)
        return off, beside(f"{example.gold:g}", f"{prediction['score']:.2f}")

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The text or the pair as one sample."""
        encoded = encode_texts(tokenizer, expected(example.texts, head), length=length)
        return [encoded.sample(head, None if example.gold is None else np.array([[example.gold]], np.float32))]

    def decode(self, example: Example, output: Output) -> Number:
        """The number."""
        return Number(float(output.logits[0][0, 0]))

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """Spearman's and Pearson's correlation, and the mean squared error in squares of the units."""
        golds, found = [example.gold for example in examples], [one["score"] for one in predictions]
        return {
            "spearman": spearman(golds, found),
            "pearson": pearson(golds, found),
            "mean_squared_error": float(np.mean((np.array(golds) - np.array(found)) ** 2)),
        }


def _example(record: Mapping[str, Any], columns: Columns, gold: Any, *, place: str, number: int) -> Example:
    texts = tuple(columns.text(record, role) for role in ("text", "other") if role in columns.names)
    return Example(columns.id(record, number), texts, gold, place)
