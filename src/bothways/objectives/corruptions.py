"""The first question: what is hidden or replaced?

Everything is drawn for the whole row at once, from the row's own random stream, anew in every epoch (dynamic masking,
RoBERTa, Liu et al. 2019, section 4.1). The pictures show six words; `_` is [MASK]; the tests read them.

Letters: T tokens in a row, E eligible tokens (text, not special), U units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.calls import Linear as Linear
from bothways.errors import UsageError
from bothways.objectives.objective import Corrupted
from bothways.visibility import places

Rate = float | Linear


def rate_at(rate: Rate, progress: float) -> float:
    """The rate at a progress of 0..1."""
    return rate.start + (rate.end - rate.start) * progress if isinstance(rate, Linear) else rate


@dataclass(frozen=True, slots=True)
class Units:
    """What is chosen as a whole: runs of tokens or of words.

    words    a unit is made of whole words rather than of tokens
    lengths  probability that a unit is 1, 2, 3, ... of them long
    alike    [MASK], random or kept is drawn once a unit (SpanBERT) rather than once a token (BERT)
    """

    words: bool = False
    lengths: tuple[float, ...] = (1.0,)
    alike: bool = False


def _geometric(p: float, longest: int) -> tuple[float, ...]:
    weights = [p * (1 - p) ** k for k in range(longest)]
    return tuple(weight / sum(weights) for weight in weights)


UNITS: dict[str, Units] = {
    "tokens": Units(),
    "whole": Units(words=True),
    "spans": Units(words=True, lengths=_geometric(0.2, 10), alike=True),
    "ngrams": Units(lengths=(0.8, 0.1, 0.1)),
    "runs": Units(lengths=(1 / 3, 1 / 3, 1 / 3), alike=True),
}
"""tokens  single tokens (BERT, Devlin et al. 2019, section 3.1)
whole   whole words (BERT's whole-word masking; in Chinese with the words of a segmenter, Cui et al. 2019)
spans   1 to 10 whole words, geometric (SpanBERT, Joshi et al. 2020, section 3.1: p = 0.2, mean 3.8)
ngrams  a token, or a bigram or trigram one time in five (UniLM, Dong et al. 2019, section 2.4)
runs    1 to 3 tokens (GPT-BERT, Charpentier & Samuel 2024)
"""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What stands in a chosen place: [MASK], a random token of text, or for the rest the token itself."""

    mask: float = 0.8
    random: float = 0.1

    def __post_init__(self) -> None:
        if min(self.mask, self.random) < 0 or self.mask + self.random > 1:
            raise UsageError(f"mask and random are shares of at most 1 together, got {self.mask} and {self.random}")


REPLACEMENTS: dict[str, Replacement] = {
    "bert": Replacement(),
    "electra": Replacement(mask=0.85, random=0.0),
    "all-mask": Replacement(mask=1.0, random=0.0),
}
"""bert: 80 % [MASK], 10 % a random token, 10 % the token itself; electra: 85 % [MASK], 15 % the token itself; all-mask:
always [MASK]."""


def nothing(row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
    """The text as it is; every token is predicted, or of a pair those of its target.

    text    a b c d e f
    reads   a b c d e f
    chosen  1 1 1 1 1 1
    """
    none = np.zeros(len(row), dtype=np.int32)
    chosen = np.ones(len(row), dtype=bool) if row.part is None else row.following
    return Corrupted(row, row.tokens, chosen, none if row.part is None else row.part)


def split(row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
    """The text as it is, every document cut in two; the target is predicted.

    text    a b c d e f
    reads   a b c d e f
    part    0 0 1 1 1 1
    chosen  0 0 1 1 1 1
    """
    part, weight = cut(row, rng)
    return Corrupted(row, row.tokens, part > 0, part, weight)


def cut(row: Row, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """[T] int32: 0 in the source and 1 in the target; and how many tokens a prediction in the target stands for.

    A pair is cut where its target begins, and a prediction stands for itself. Every other document is cut at a place
    drawn uniformly among those that leave both a token: half of it is predicted on average, so one stands for two.
    """
    if row.part is not None:
        return row.part, 1.0
    position = places(row.document)
    starts = np.flatnonzero(position == 0)
    lengths = np.diff(starts, append=len(row))
    first = 1 + (rng.random(len(starts)) * (lengths - 1)).astype(np.int32)
    return (position >= np.repeat(first, lengths)).astype(np.int32), 2.0


@dataclass(frozen=True)
class Mask:
    """A share `rate` of the text is chosen, unit by unit, and hidden.

    text    a b c d e f
    reads   a b _ d _ f
    chosen  0 0 1 0 1 0

    Special tokens are never chosen and never drawn as replacements. Every token of text has the chance `rate`, exactly,
    whatever the length of its word; BERT's own code skips words that overflow its budget, and so takes fewer long ones.
    With `divide`, documents are also cut into a source and a target, and both are hidden alike (UniLM); of pairs, only
    the target is, its [SEP] too.
    """

    vocabulary: Vocabulary
    units: Units = UNITS["tokens"]
    rate: Rate = 0.15
    replacement: Replacement = field(default_factory=Replacement)
    weight: float | None = None
    divide: bool = False

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row with a share of its units hidden."""
        rate = rate_at(self.rate, progress)
        eligible = np.flatnonzero(row.following if self.divide and row.part is not None else self.text(row))  # [E]
        unit = number(row, eligible, self.units, rng)  # [E]
        chosen = choose(unit, rate, rng)  # [E] bool
        return self.hide(row, eligible[chosen], rng, rate, unit[chosen])

    def text(self, row: Row) -> np.ndarray:
        """[T] bool: what may be chosen."""
        return np.asarray(self._text_table[row.tokens])

    def hide(
        self, row: Row, at: np.ndarray, rng: np.random.Generator, rate: float, unit: np.ndarray | None = None
    ) -> Corrupted:
        """The row with the places `at` [N] hidden, which are of the units `unit` [N], or each its own."""
        flags = np.zeros(len(row), dtype=bool)
        flags[at] = True
        return Corrupted(
            row=row,
            tokens=self._replace(row.tokens, at, np.arange(len(at)) if unit is None else unit, rng),
            chosen=flags,
            part=cut(row, rng)[0] if self.divide else np.zeros(len(row), dtype=np.int32),
            weight=1 / rate if self.weight is None else self.weight,
        )

    @cached_property
    def _text_table(self) -> np.ndarray:
        return self.vocabulary.text_table()

    @cached_property
    def _text(self) -> np.ndarray:
        return np.flatnonzero(self._text_table)

    def _replace(self, tokens: np.ndarray, at: np.ndarray, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[T]: `tokens` with [MASK] or random tokens at the chosen places `at` [N] of the units `unit` [N]."""
        tokens = tokens.copy()
        if self.replacement.mask == 1 or not len(at):
            tokens[at] = self.vocabulary.mask
            return tokens
        draw = rng.random(unit[-1] + 1)[unit] if self.units.alike else rng.random(len(at))
        masked = draw < self.replacement.mask
        swapped = ~masked & (draw < self.replacement.mask + self.replacement.random)
        tokens[at[masked]] = self.vocabulary.mask
        tokens[at[swapped]] = self._text[rng.integers(len(self._text), size=np.count_nonzero(swapped))]
        return tokens


def number(row: Row, eligible: np.ndarray, units: Units, rng: np.random.Generator) -> np.ndarray:
    """The unit of every eligible place, 0, 1, 2, ...: [E].

    The row is cut from left to right into runs whose lengths are drawn; a run ends where something not eligible or
    another document comes between, so units are contiguous.
    """
    if not units.words and units.lengths == (1.0,):
        return np.arange(len(eligible))
    gap = np.ones(len(eligible), dtype=bool)
    gap[1:] = (np.diff(eligible) != 1) | (np.diff(row.document[eligible]) != 0)
    opens = gap | row.word_starts[eligible] if units.words else np.ones(len(eligible), dtype=bool)
    unit = np.cumsum(opens) - 1
    if units.lengths == (1.0,) or not len(unit):
        return unit
    count = unit[-1] + 1
    lengths = 1 + np.searchsorted(np.cumsum(units.lengths)[:-1], rng.random(count), side="right")
    ends = np.cumsum(lengths)
    opens = np.zeros(count, dtype=bool)
    opens[0] = True
    opens[ends[ends < count]] = True
    opens[unit[gap]] = True
    return np.asarray((np.cumsum(opens) - 1)[unit])


def choose(unit: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Whole units, so that every token is chosen with probability `rate`: [E] units -> [E] bool.

    The units are arranged round a circle in random order; those are chosen that begin within an arc of rate * E tokens,
    which starts anywhere. For single tokens this is rate * E rounded up or down at random.
    """
    sizes = np.bincount(unit)
    order = rng.permutation(len(sizes))
    lengths = sizes[order]
    begins = np.cumsum(lengths) - lengths - len(unit) * rng.random()
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[begins % max(len(unit), 1) < rate * len(unit)]] = True
    return np.asarray(chosen[unit])
