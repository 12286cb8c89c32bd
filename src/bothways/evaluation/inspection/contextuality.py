"""How much do a model's states depend on context? Layer by layer, several models side by side (Ethayarajh 2019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bothways.batch import Reads
from bothways.errors import DataError
from bothways.evaluation.inspection.layers import states_by_layer, words_of
from bothways.evaluation.inspection.measures import Measured, measured
from bothways.inference.embed import one_reading, readings
from bothways.inference.engine import Engine
from bothways.tasks.texts import texts_of

VERSION = 1
LEAST = 5
"""Different texts that a word must stand in."""
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Contextuality:
    """What one model makes of some texts; layer 0 is what the embeddings give.

    reads    "all sides" or "left to right"
    tokens   that were read
    unknown  places of words that the tokenizer cannot represent; they are left out
    words    [W] those in LEAST texts or more
    layers   measures of every layer
    """

    name: str
    reads: str
    tokens: int
    unknown: int
    words: Sequence[str]
    layers: Sequence[Measured]

    def extremes(self, layer: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The most and the least contextual words of a layer: their self-similarity less the anisotropy."""
        adjusted = self.layers[layer].self_similarity - self.layers[layer].anisotropy
        order = np.argsort(adjusted, kind="stable").tolist()
        named = [(self.words[i], float(adjusted[i])) for i in order]
        return named[:SHOWN], named[::-1][:SHOWN]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        most, least = self.extremes(-1)
        return {
            "version": VERSION,
            "model": self.name,
            "reads": self.reads,
            "tokens": self.tokens,
            "unknown": self.unknown,
            "words": len(self.words),
            "layers": [one.figures() for one in self.layers],
            "most_contextual": dict(most),
            "least_contextual": dict(least),
        }


def contextuality(
    engine: Engine, texts: Sequence[str], *, name: str = "", most_tokens: int = 100_000
) -> list[Contextuality]:
    """Reads texts until `most_tokens`, in each way that the model was taught; a text that comes twice is read once.

    Raises:
        DataError: too few words that stand in LEAST texts.
        ModelError: a model that was taught no way of reading a text, or two passes that only together are one.
    """
    one_reading(engine)  # or it says why not
    ways = readings(engine.abilities)
    some = list(_some(engine, dict.fromkeys(texts), most_tokens))
    names = [name] if len(ways) == 1 else [f"{name}, {reads}" for reads in ways]
    return [_contextuality(engine, some, reads, name=called) for reads, called in zip(ways, names, strict=True)]


def _contextuality(engine: Engine, texts: Sequence[str], reads: Reads, *, name: str) -> Contextuality:
    words = words_of(engine, texts, reads)
    counts: Counter[str] = Counter(word for word, _ in {*zip(words.name, words.text.tolist(), strict=True)})
    kept = sorted(word for word, count in counts.items() if count >= LEAST and any(map(str.isalnum, word)))
    if len(kept) < 2:
        raise DataError(
            f"expected words that stand in {LEAST} texts or more, got {len(kept)} in {len(texts)} texts: give more text"
        )
    number = {word: i for i, word in enumerate(kept)}
    word = np.array([number.get(name, -1) for name in words.name])
    return Contextuality(
        name=name,
        reads=reads,
        tokens=sum(map(len, words.rows)),
        unknown=words.unknown,
        words=kept,
        layers=[measured(states, word, words.text) for states in states_by_layer(engine, words, reads)],
    )


def _some(engine: Engine, texts: Iterable[str], most: int) -> Iterable[str]:
    read = 0
    for text in texts:
        if read >= most:
            return
        read += len(engine.tokenizer.encode(text)) + 2
        yield text


def read_texts(path: Path) -> list[str]:
    """The lines of a file of text, or the records' texts: one text each, empty ones left out.

    Raises:
        UsageError: no field of its records is called as texts are.
        DataError: it cannot be read, or holds no text.
    """
    if not (found := [*texts_of(path)]):
        raise DataError(f"{path}: expected texts, one a line, got an empty file")
    return found
