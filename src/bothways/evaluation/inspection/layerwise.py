"""What is written in which layer: a linear probe on every one, and a control beside it (Hewitt & Liang 2019).

A probe may learn a task by itself rather than read it off. The control has labels that cannot be in the states: of
tags, one drawn for every different word, of texts, the labels dealt out anew. Selectivity is how much better the task
is than its control.

Letters: N items, D width, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bothways.errors import UsageError
from bothways.evaluation.inspection.layers import WordStates, states_by_layer
from bothways.evaluation.linear_probe import linear_probe, read_sides
from bothways.inference.embed import one_reading
from bothways.inference.engine import Engine
from bothways.tasks.encoding import encode_texts, encode_words
from bothways.tasks.task import Example

TASKS = ("classify", "tag")
MOST = 20_000
"""Texts to learn from."""
STRENGTH = 0.1
"""Inverse, of the penalty: the same for every layer and its control, which a search for each would set apart."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's probe, in shares of the test items that are right.

    most_common  what always predicting the most common label would get
    """

    accuracy: float
    control: float
    most_common: float

    @property
    def selectivity(self) -> float:
        """How much more of the task than of the control can be read off, as a share."""
        return self.accuracy - self.control


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Where the items stand, what each is, and its label.

    kind  [N] for tags the word, for texts its number: what the control gives one label
    """

    words: WordStates
    kind: np.ndarray
    gold: np.ndarray


def layerwise(engine: Engine, task: str, train: Path, test: Path, *, seed: int = 0) -> list[Layer]:
    """A probe on every layer, the embeddings first; texts that are longer than the model reads are cut.

    Raises:
        DataError: a file or record that cannot be read, a single class, or a label that is new in the test.
        ModelError: a model that was taught no way of reading a text.
        UsageError: another task.
    """
    if task not in TASKS:
        raise UsageError(f"layers are probed for {' or '.join(TASKS)}, got {task!r}")
    sides = [_items(engine, examples) for examples in read_sides(task, train, test)]
    chosen = np.random.default_rng(seed).permutation(len(sides[0].gold))[:MOST]
    controls, gold = _controls(sides, chosen, seed), sides[0].gold[chosen]
    values, counts = np.unique(gold, return_counts=True)
    most_common = float((sides[1].gold == values[counts.argmax()]).mean())
    reads = one_reading(engine)
    found = []
    for states in zip(*(states_by_layer(engine, side.words, reads) for side in sides), strict=True):
        inputs = states[0][chosen], states[1]
        accuracy, control = (
            float(linear_probe(inputs, labels, strengths=(STRENGTH,)).mean())
            for labels in ((gold, sides[1].gold), (controls[0][chosen], controls[1]))
        )
        found.append(Layer(accuracy, control, most_common))
    return found


def as_json(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """With the selectivity."""
    return [asdict(layer) | {"selectivity": layer.selectivity} for layer in layers]


def _items(engine: Engine, examples: Sequence[Example]) -> LabelledTexts:
    length, closed = engine.model.config.length, one_reading(engine) != "left to right"
    frame = engine.tokenizer.frame
    rows: list[np.ndarray] = []
    found: list[tuple[int, int, int, str, str]] = []  # row, from, to, kind, gold
    for number, example in enumerate(examples):
        if example.words is None:
            tokens = encode_texts(engine.tokenizer, example.texts, length=length).tokens
            behind = (frame.one if len(example.texts) == 1 else frame.two)[-1]
            rows.append(tokens[: len(tokens) - (0 if closed else len(behind))].astype(np.int64))  # without [SEP]
            found.append((len(rows) - 1, 0, len(rows[-1]), str(number), example.gold))
            continue
        words = example.words
        spans = words.spans.tolist()
        for part in encode_words(engine.tokenizer, words, length=length):
            rows.append(part.tokens.astype(np.int64))
            for at, of in zip(part.at.tolist(), part.of.tolist(), strict=True):
                first, last = spans[of]
                found.append((len(rows) - 1, at, at + 1, words.read[first:last], example.gold[of]))
    row, start, stop = (np.array([item[i] for item in found], dtype=np.int64) for i in range(3))
    kind, gold = (np.array([item[i] for item in found]) for i in (3, 4))
    return LabelledTexts(WordStates([], row, row, start, stop, rows), kind, gold)


def _controls(sides: Sequence[LabelledTexts], chosen: np.ndarray, seed: int) -> list[np.ndarray]:
    """Labels that go by the item's kind alone, drawn as often as the true ones are met."""
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys([*sides[0].kind.tolist(), *sides[1].kind.tolist()]))}
    drawn = np.random.default_rng((seed, 1)).choice(sides[0].gold[chosen], size=len(kinds))
    return [drawn[[kinds[kind] for kind in side.kind.tolist()]] for side in sides]
