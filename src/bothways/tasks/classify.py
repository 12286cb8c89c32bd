"""Classes of a text or of two, one or several of them; and how alike two texts are, or how good one is, as a number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bothways.errors import DataError
from bothways.inference.examples import Encoded, encode_texts
from bothways.inference.labelling import expected, label_of
from bothways.model import Answers
from bothways.tasks.labels import label_name, natural
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example, Heard, Task, file_of
from bothways.text import Tokenizer


class Classify(Task):
    """One class of two or more; several where the label is a list."""

    name, metric, key = "classify", "accuracy", "label"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        return ("text", "label") if gold else ("text",), ("other", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        value: Any = None
        if gold:
            value = columns.value(record, "label")
            names = [label_name(one) for one in (value if isinstance(value, list) else [value])]
            if None in names:
                raise BadField(columns.names["label"], f"a label, or a list of them, got {value!r}")
            value = tuple(sorted({name for name in names if name})) if isinstance(value, list) else names[0]
        return _example(record, columns, value, place=place, number=number)

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        several = isinstance(examples[0].gold, tuple)
        if odd := next((example for example in examples if isinstance(example.gold, tuple) != several), None):
            raise DataError(f"{odd.place}: expected {'lists of labels' if several else 'one label'}, as in the others")
        labels = {label for example in examples for label in (example.gold if several else (example.gold,))}
        if len(labels) < (1 if several else 2):
            only = ", ".join(labels) or "none"
            raise DataError(f"{file_of(examples)}: expected two classes or more to tell apart, got only {only!r}")
        kind: Any = "several" if several else "one"
        return Answers(self.name, "label", tuple(sorted(labels, key=natural)), kind, reads, len(examples[0].texts))

    def check(self, example: Example, answers: Answers) -> str | None:
        if isinstance(example.gold, tuple) != (answers.kind == "several"):
            return f"expected {'a list of labels' if answers.kind == 'several' else 'one label'}, got {example.gold!r}"
        golds = example.gold if answers.kind == "several" else (example.gold,)
        new = [label for label in golds if label not in answers.labels]
        return f"the label {new[0]!r} was not trained; known: {', '.join(answers.labels)}" if new else None

    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        encoded = encode_texts(tokenizer, expected(example.texts, answers), length=length)
        if example.gold is None:
            return [encoded]
        if answers.kind == "several":
            right = np.array([[label in example.gold for label in answers.labels]], dtype=np.float32)
        else:
            right = np.array([answers.labels.index(example.gold)])
        return [replace(encoded, labels=right)]

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        return asdict(label_of(heard.logits[0][0], heard.answers))

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

        if answers.kind == "several":
            return _of_several([example.gold for example in examples], [one["label"] for one in said], answers.labels)
        golds, labels = [example.gold for example in examples], [one["label"] for one in said]
        known = sorted({*golds, *labels}, key=natural)
        scores = {
            "accuracy": float(accuracy_score(golds, labels)),
            "macro_f1": float(f1_score(golds, labels, labels=known, average="macro", zero_division=0)),
            "matthews": float(matthews_corrcoef(golds, labels)) if len(known) > 1 else 0.0,
        }
        if len(answers.labels) == 2:  # the second is the positive one: "1" of "0" and "1"
            scores["f1"] = float(f1_score(golds, labels, pos_label=answers.labels[1], zero_division=0))
        return scores


def _of_several(
    golds: Sequence[Collection[str]], said: Sequence[Collection[str]], labels: Sequence[str]
) -> dict[str, float]:
    """As scikit-learn counts them, which takes a single column of labels for two classes."""
    right, found = (np.array([[label in some for label in labels] for some in side]) for side in (golds, said))
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
        return ("text", "score") if gold else ("text",), ("other", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        value = columns.number(record, "score") if gold else None
        return _example(record, columns, value, place=place, number=number)

    def answers(self, examples: Sequence[Example], *, reads: Any) -> Answers:
        if len({example.gold for example in examples}) < 2:
            raise DataError(f"{file_of(examples)}: expected numbers that differ, got one number only")
        return Answers(self.name, "label", ("score",), "number", reads, len(examples[0].texts))

    def check(self, example: Example, answers: Answers) -> str | None:
        return None

    def encode(self, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
        encoded = encode_texts(tokenizer, expected(example.texts, answers), length=length)
        return [encoded if example.gold is None else replace(encoded, labels=np.array([[example.gold]], np.float32))]

    def decode(self, example: Example, heard: Heard) -> dict[str, Any]:
        return {"score": float(heard.logits[0][0, 0])}

    def score(self, examples: Sequence[Example], said: Sequence[dict[str, Any]], answers: Answers) -> dict[str, float]:
        from scipy.stats import pearsonr, spearmanr

        golds, found = [example.gold for example in examples], [one["score"] for one in said]
        if len(set(golds)) < 2 or len(set(found)) < 2:  # nothing to correlate
            return {"spearman": 0.0, "pearson": 0.0, "mean_squared_error": _squared(golds, found)}
        return {
            "spearman": float(spearmanr(golds, found).statistic),
            "pearson": float(pearsonr(golds, found).statistic),
            "mean_squared_error": _squared(golds, found),
        }


def _squared(golds: Sequence[float], found: Sequence[float]) -> float:
    return float(np.mean((np.array(golds) - np.array(found)) ** 2))


def _example(record: Mapping[str, Any], columns: Columns, gold: Any, *, place: str, number: int) -> Example:
    texts = tuple(columns.text(record, role) for role in ("text", "other") if role in columns.names)
    return Example(columns.id(record, number), texts, gold, place)
