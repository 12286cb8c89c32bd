"""What a model knows without being taught to answer: minimal pairs, facts with a hole, words that people find alike.

Letters: N items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus.fields import number_field, text_field
from bothways.corpus.records import read_records
from bothways.errors import DataError, ModelError
from bothways.inference.language_model import LanguageModel
from bothways.statistics import Estimate, estimate
from bothways.word_vectors.store import unit_vectors

GOOD, BAD = ("good", "sentence_good"), ("bad", "sentence_bad")  # the latter is how BLiMP is published
PARADIGM, PHENOMENON = ("paradigm", "UID"), ("phenomenon", "linguistics_term")
CAUSAL, PSEUDO_LIKELIHOOD = "left to right", "pseudo-log-likelihood"
MASK = re.compile(re.escape("[MASK]") + "|<mask>")
FIRST = (1, 5)
FEWEST = 3
ALIKE = 1e-4
"""Nats within which two scores of one text may lie, read in other company: they are the same score."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What one model got, item by item.

    name   of the probe; two models are compared where they have one of one name
    item   [N] the number of each item in its file, ascending; those that the tokenizer cannot represent are left out
    value  [N]: 0 wrong, 1 right, a half for a tie; of similarities the cosine; of text the bits it costs
    group  [N] the phenomenon or relation of each item
    template  [N] what each was made from; items of one are right or wrong together. None: each stands for itself
    gold   [N] the judgement of people; None: the figure is the mean of the values
    weight [N] None: an item is one; else the figure is the sum of the values by that of the weights
    left_out  how many
    """

    name: str
    item: np.ndarray
    value: np.ndarray
    group: np.ndarray
    gold: np.ndarray | None = None
    weight: np.ndarray | None = None
    template: np.ndarray | None = None
    left_out: int = 0

    def of(self, group: str | None) -> Probe:
        """The items of one group, or all."""
        return self if group is None else self.where(self.group == group)

    def where(self, mine: np.ndarray) -> Probe:
        """Some of the items, bool [N]."""
        item, value, group = self.item[mine], self.value[mine], self.group[mine]
        gold, weight, template = (
            None if some is None else some[mine] for some in (self.gold, self.weight, self.template)
        )
        return Probe(self.name, item, value, group, gold, weight, template)

    @property
    def ties(self) -> int:
        """Items to which a model gave the same score twice."""
        return int((self.value == 0.5).sum()) if self.gold is None and self.weight is None else 0

    @property
    def estimate(self) -> Estimate:
        """The figure with its interval over the items, or over the templates."""
        return estimate([self.value], self.gold, self.weight, self.template)


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
        found = [(line, record) for _, line, record in read_records(path)]
        if not found:
            raise DataError(f"{path}: expected records, got an empty file")
        return cls(path, found)

    def texts(self, field: str, other: str = "") -> list[str]:
        """What stands in a field, or in the other one of that meaning.

        Raises:
            DataError: a record without it; file, line and field are named.
        """
        return [text_field(self.path, line, record, other if other in record else field) for line, record in self.found]

    def numbers(self, field: str) -> np.ndarray:
        """
        Raises:
            DataError: a record without it, or with something else.
        """
        return np.array([number_field(self.path, line, record, field) for line, record in self.found])

    def at(self, item: np.ndarray) -> Records:
        """Those of these numbers."""
        return Records(self.path, [self.found[i] for i in item])

    def group(self, *fields: str) -> np.ndarray:
        """What stands in the first of these fields that there is; else nothing."""
        named = (next((record[f] for f in fields if record.get(f) is not None), "") for _, record in self.found)
        return np.array([str(name) for name in named])

    def template(self, *fields: str) -> np.ndarray | None:
        """The same, where a record without one is a template of its own; None where no record has one."""
        named, alone = self.group(*fields), [f"line {line}" for line, _ in self.found]
        return np.where(named == "", alone, named) if named.any() else None


def minimal_pairs(loaded: LanguageModel, records: Records) -> Iterator[Probe]:
    """Is the good sentence of two the likelier one? See `judged_pairs`.

    Raises:
        DataError: no pair that the tokenizer can represent.
    """
    good, bad = (records.texts(*names) for names in (GOOD, BAD))
    item, found = judged_pairs(loaded, good, bad)
    if not len(item):
        raise DataError(f"{records.path}: expected pairs that the tokenizer can represent, got none of {len(good)}")
    kept = records.at(item)
    group, template = kept.group(*PHENOMENON, *PARADIGM), kept.template(*PARADIGM)
    for name, value in found.items():
        yield Probe(f"pairs, {name}", item, value, group, template=template, left_out=len(good) - len(item))


def judged_pairs(
    loaded: LanguageModel, good: Sequence[str], bad: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Is the good sentence the likelier one, by each scoring that the model was taught? A tie is a half (BLiMP,
    Warstadt et al. 2020; Salazar et al. 2020). The sum favours the shorter sentence, so the mean of a token is looked
    at too (Lau et al. 2017, MeanLP): a model that learned nothing is near a half by that.

    Returns:
        [N] the numbers of the pairs that the tokenizer can represent, and {scoring: [N] 1, 0 or a half}.
    """
    scores = pair_scores(loaded, good, bad)
    found: dict[str, np.ndarray] = {}
    for name in scores.sums:
        found |= {name: scores.by_sum(name), f"{name}, per token": scores.by_token(name)}
    return scores.item, found


@dataclass(frozen=True, slots=True)
class PairScores:
    """What one model gives the sentences of pairs, the good ones first.

    item     [N] the numbers of the pairs that the tokenizer can represent
    lengths  [2, N] tokens that are scored
    sums     {scoring: [2, N] log-probabilities, or pseudo-log-likelihoods, in nats}; none where there is no pair
    """

    item: np.ndarray
    lengths: np.ndarray
    sums: dict[str, np.ndarray]

    def by_sum(self, scoring: str) -> np.ndarray:
        """[N] 1 where the good sentence is ahead, 0 where the bad one is, a half for a tie."""
        good, bad = self.sums[scoring]
        return _won(good - bad)

    def by_token(self, scoring: str) -> np.ndarray:
        """[N] the same by means of a token, in the size of a sum, so that what is alike by one is so by the other."""
        good, bad = self.sums[scoring] / self.lengths
        return _won((good - bad) * self.lengths.max(0))

    def by_first_of_likeliest(self, scoring: str) -> np.ndarray:
        """[N] as BabyLM's evaluation pipeline has it: the index of the largest sum of two in float32, and of two that
        are alike the first, which is the good one's."""
        good, bad = self.sums[scoring].astype(np.float32)
        return np.where(np.isnan(good + bad), np.nan, good >= bad)


def pair_scores(loaded: LanguageModel, good: Sequence[str], bad: Sequence[str]) -> PairScores:
    """By each scoring that the model was taught."""
    trained = loaded.engine.abilities
    scorings = {CAUSAL: "causal"} if "decoder" in trained.faces else {}
    scorings |= {PSEUDO_LIKELIHOOD: "pseudo"} if trained.hidden is not None else {}
    lengths = np.stack([_lengths(loaded, side) for side in (good, bad)])  # [2, pairs]
    item = np.flatnonzero((lengths > 0).all(0))
    texts = [side[i] for side in (good, bad) for i in item.tolist()]
    sums = {name: loaded.score(texts, how=how).reshape(2, -1) for name, how in scorings.items() if texts}
    return PairScores(item, lengths[:, item], sums)


def _won(ahead: np.ndarray) -> np.ndarray:
    """[N] 1 where the good one is ahead, 0 where the bad one is, a half where neither; nan stays."""
    return np.where(np.isfinite(ahead), np.where(np.abs(ahead) <= ALIKE, 0.5, ahead > 0), np.nan)


def _lengths(loaded: LanguageModel, texts: Sequence[str]) -> np.ndarray:
    """[N] tokens that are scored; 0 where one is unknown."""
    rows, text_of = loaded.engine.rows(texts, closed=False)
    unknown = loaded.engine.tokenizer.vocabulary.unk
    known = np.ones(len(texts), dtype=bool)
    np.logical_and.at(known, text_of, [unknown not in row for row in rows])
    given = loaded.engine.given
    return known * np.bincount(text_of, [len(row) - given for row in rows], minlength=len(texts))


def cloze(loaded: LanguageModel, records: Records) -> Iterator[Probe]:
    """Is the hidden word among the first guesses? Of items whose answer is one token (LAMA, Petroni et al. 2019).

    Raises:
        DataError: not one [MASK] in a text, or no answer of one token.
    """
    if loaded.engine.abilities.hidden is None:
        return
    texts, answers = (records.texts(field) for field in ("text", "answer"))
    own = loaded.engine.tokenizer
    unknown = own.vocabulary.unk
    cut = [(own.encode(f" {answer}"), own.encode(answer)) for answer in answers]
    single = np.array([any(len(some) == 1 and unknown not in some for some in both) for both in cut])
    marked = [MASK.sub("[MASK]", text) for text in texts]
    for (line, _), text in zip(records.found, marked, strict=True):
        if text.count("[MASK]") != 1:
            raise DataError(f"{records.path}, line {line}: expected one [MASK] in 'text', got {text[:60]!r}")
    kept = np.flatnonzero(single)
    if not len(kept):
        raise DataError(f"{records.path}: expected answers of one token of the tokenizer, got none of {len(answers)}")
    found = loaded.fill([marked[i] for i in kept], top_k=max(FIRST))
    guesses_of = [[guess.token.strip().lower() for guess in guesses] for (guesses,) in found]
    group, template = records.at(kept).group("part", "relation"), records.at(kept).template("relation")
    for first in FIRST:
        right = [answers[i].strip().lower() in some[:first] for i, some in zip(kept, guesses_of, strict=True)]
        name = "facts, first guess" if first == 1 else f"facts, first {first} guesses"
        value, left_out = np.array(right, dtype=np.float64), int((~single).sum())
        yield Probe(name, kept, value, group, template=template, left_out=left_out)


def similarity(loaded: LanguageModel, records: Records) -> Iterator[Probe]:
    """Are words that people find alike near each other? By the rows of the embedding table, and by the states of each
    word read alone; the figure is Spearman's.

    Raises:
        DataError: too few words that the tokenizer can represent.
    """
    sides = [records.texts(field) for field in ("word1", "word2")]
    gold = records.numbers("score")
    own = loaded.engine.tokenizer
    unknown = own.vocabulary.unk
    tokens = [[own.encode(f" {word}") for word in side] for side in sides]
    kept = np.array([bool(a) and bool(b) and unknown not in (*a, *b) for a, b in zip(*tokens, strict=True)])
    if kept.sum() < FEWEST:
        raise DataError(
            f"{records.path}: expected {FEWEST} pairs or more that the tokenizer can represent, got {int(kept.sum())}"
        )
    table = loaded.engine.model.table.detach().float().cpu().numpy()
    item, left_out = np.flatnonzero(kept), int((~kept).sum())

    def probe(name: str, vectors: Sequence[np.ndarray]) -> Probe:
        alike = (unit_vectors(vectors[0]) * unit_vectors(vectors[1])).sum(1)
        return Probe(name, item, alike, np.full(len(item), ""), gold[kept], left_out=left_out)

    static = [np.stack([table[some].mean(0) for i, some in enumerate(side) if kept[i]]) for side in tokens]
    yield probe("word similarity, embeddings", static)
    try:
        read = [loaded.embed([word for i, word in enumerate(side) if kept[i]]) for side in sides]
    except ModelError:  # taught no way of reading a text
        return
    yield probe("word similarity, read alone", read)
