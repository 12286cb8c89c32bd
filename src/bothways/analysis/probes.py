"""What a model knows without being taught to say it: minimal pairs, facts with a hole, words that people find alike.

Letters: N items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bothways.analysis.significance import figure, standard_error
from bothways.corpus.fields import number_field, text_field
from bothways.corpus.options import PrepareOptions
from bothways.corpus.readers import Reader as Files
from bothways.errors import DataError, ModelError
from bothways.inference.loading import Loaded

MASK = re.compile(re.escape("[MASK]") + "|<mask>")
FIRST = (1, 5)


@dataclass(frozen=True, slots=True)
class Probe:
    """What one model got, item by item.

    name   of the probe; two models are compared where they have one of one name
    value  [N]: 0 wrong, 1 right, a half for a tie; of similarities the cosine; of text the bits it costs
    group  [N] the phenomenon or relation of each item
    gold   [N] what people said; None: the figure is the mean of the values
    weight [N] None: an item is one; else the figure is the sum of the values by that of the weights
    ties   items to which a model gave the same score twice
    left_out  items that the tokenizer cannot represent
    """

    name: str
    value: np.ndarray
    group: np.ndarray
    gold: np.ndarray | None = None
    weight: np.ndarray | None = None
    ties: int = 0
    left_out: int = 0

    def of(self, group: str | None) -> Probe:
        """The items of one group, or all."""
        mine = np.ones(len(self.value), dtype=bool) if group is None else self.group == group
        gold, weight = (None if some is None else some[mine] for some in (self.gold, self.weight))
        return Probe(self.name, self.value[mine], self.group[mine], gold, weight, self.ties, self.left_out)

    @property
    def figure(self) -> float:
        return figure(self.value, self.gold, self.weight)

    @property
    def error(self) -> float:
        """Standard error over the items."""
        return standard_error([self.value], self.gold, self.weight)


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a file, each with its line."""

    path: Path
    found: Sequence[tuple[int, dict[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> Records:
        """
        Raises:
            DataError: it cannot be read, or is empty.
        """
        found = list(Files(PrepareOptions()).records(path))
        if not found:
            raise DataError(f"{path}: expected records, got an empty file")
        return cls(path, found)

    def texts(self, field: str) -> list[str]:
        """
        Raises:
            DataError: a record without it; file, line and field are named.
        """
        return [text_field(self.path, line, record, field) for line, record in self.found]

    def numbers(self, field: str) -> np.ndarray:
        """
        Raises:
            DataError: a record without it, or with something else.
        """
        return np.array([number_field(self.path, line, record, field) for line, record in self.found])

    def group(self, *fields: str) -> np.ndarray:
        """What stands in the first of these fields that there is; else nothing."""
        return np.array([str(next((record[f] for f in fields if f in record), "")) for _, record in self.found])


def minimal_pairs(loaded: Loaded, records: Records) -> Iterator[Probe]:
    """Is the good sentence the likelier one, by each way of scoring that the model was taught? A tie is a half (BLiMP,
    Warstadt et al. 2020; Salazar et al. 2020). The sum favours the shorter sentence, so the mean of a piece is asked
    too (Lau et al. 2017, MeanLP): a model that learned nothing is near a half by that."""
    good, bad = records.texts("good"), records.texts("bad")
    trained = loaded.reader.trained
    ways = {"left to right": "causal"} if "decoder" in trained.faces else {}
    ways |= {"hidden one by one": "pseudo"} if trained.hidden is not None else {}
    group, lengths = records.group("phenomenon", "paradigm"), _lengths(loaded, [*good, *bad])
    for name, how in ways.items():
        sums = loaded.score([*good, *bad], how=how)
        for scores, said in ((sums, name), (sums / lengths, f"{name}, a piece")):
            ahead, behind = scores[: len(good)], scores[len(good) :]
            ties = ahead == behind
            yield Probe(f"pairs, {said}", (ahead > behind) + 0.5 * ties, group, ties=int(ties.sum()))


def _lengths(loaded: Loaded, texts: Sequence[str]) -> np.ndarray:
    """[N] pieces that are scored."""
    rows, text_of = loaded.reader.rows(texts, closed=False)
    return np.bincount(text_of, [len(row) - 1 for row in rows], minlength=len(texts))


def cloze(loaded: Loaded, records: Records) -> Iterator[Probe]:
    """Is the hidden word among the first guesses? Of items whose answer is one piece (LAMA, Petroni et al. 2019)."""
    if loaded.reader.trained.hidden is None:
        return
    texts, answers = (records.texts(field) for field in ("text", "answer"))
    own = loaded.reader.tokenizer
    single = np.array([len(own.encode(f" {a}")) == 1 or len(own.encode(a)) == 1 for a in answers])
    marked = [MASK.sub("[MASK]", text) for text in texts]
    for (line, _), text in zip(records.found, marked, strict=True):
        if text.count("[MASK]") != 1:
            raise DataError(f"{records.path}, line {line}: expected one [MASK] in 'text', got {text[:60]!r}")
    kept = np.flatnonzero(single)
    if not len(kept):
        return
    found = loaded.fill([marked[i] for i in kept], top_k=max(FIRST))
    said = [[guess.piece.strip().lower() for guess in guesses] for (guesses,) in found]
    group = records.group("part", "relation")[kept]
    for first in FIRST:
        right = [answers[i].strip().lower() in some[:first] for i, some in zip(kept, said, strict=True)]
        name = "facts, first guess" if first == 1 else f"facts, first {first} guesses"
        yield Probe(name, np.array(right, dtype=np.float64), group, left_out=int((~single).sum()))


def similarity(loaded: Loaded, records: Records) -> Iterator[Probe]:
    """Are words that people find alike near each other? By the rows of the embedding table, and by the states of each
    word read alone; the figure is Spearman's."""
    sides = [records.texts(field) for field in ("word1", "word2")]
    gold = records.numbers("score")
    own = loaded.reader.tokenizer
    unknown = own.vocabulary.unk
    pieces = [[own.encode(f" {word}") for word in side] for side in sides]
    kept = np.array([bool(a) and bool(b) and unknown not in (*a, *b) for a, b in zip(*pieces, strict=True)])
    if kept.sum() < 2:
        raise DataError(f"{records.path}: expected words that the tokenizer can represent, got {int(kept.sum())} pairs")
    table = loaded.reader.model.table.detach().float().cpu().numpy()
    group = np.full(int(kept.sum()), records.path.name.partition(".")[0])

    def probe(name: str, vectors: Sequence[np.ndarray]) -> Probe:
        unit = [some / np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-12) for some in vectors]
        return Probe(name, (unit[0] * unit[1]).sum(1), group, gold[kept], left_out=int((~kept).sum()))

    static = [np.stack([table[some].mean(0) for i, some in enumerate(side) if kept[i]]) for side in pieces]
    yield probe("word similarity, embeddings", static)
    try:
        read = [loaded.embed([word for i, word in enumerate(side) if kept[i]]) for side in sides]
    except ModelError:  # taught no way of reading a text
        return
    yield probe("word similarity, read alone", read)
