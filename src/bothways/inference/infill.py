"""Writes out what is missing inside a text: hidden words, and a gap of unknown length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.arguments import at_least
from bothways.errors import UsageError
from bothways.inference.decoding.mass import fill_runs
from bothways.inference.decoding.options import Unmasking
from bothways.inference.decoding.sequence import detokenize
from bothways.inference.decoding.unmasking import Fill, MaskedRow, unmask
from bothways.inference.engine import Engine

ROWS_AT_ONCE = 256  # in memory, and between two words of how far it is
GAP, MASK = "[GAP]", "[MASK]"


@dataclass(frozen=True, slots=True)
class Gap:
    """How many tokens a [GAP] may stand for: from `shortest` to `longest`."""

    longest: int = 8
    shortest: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise UsageError(f"a gap is 1 token long or more, got {self.longest}; for nothing at all, leave [GAP] out")


def infill(
    engine: Engine, texts: Sequence[str], *, gap: Gap, unmasking: Unmasking, seed: int, before: int = 0
) -> list[str]:
    """Every text, with tokens in place of its [MASK]s and its [GAP]; what was shown stays, to the letter.

    All lengths of a gap are tried, each as so many [MASK]s. The one is kept whose tokens have the highest mean
    log-probability, each token's taken in the pass that revealed it: given the shown text and what earlier passes
    revealed. With a token a pass their sum is, by the chain rule, the log-probability of what was written, given what
    stands around it; the sum nearly always takes one token, the mean does not (docs/decisions.md has other rules).
    Length n of text i draws from a random stream of (seed, before + i, n), where `before` texts were infilled before.

    Raises:
        UsageError: a text with nothing to write out, with two gaps, or longer than the model reads.
        ModelError: the objective did not teach it.
    """
    at_least(0, "seed", seed, "a whole number")
    if not engine.abilities.decoding.keys() & {"unmask", "fragment"}:
        engine.needs("hidden")
    versions = [_versions(engine, text, number, gap) for number, text in enumerate(texts, 1)]
    engine.marked_rows([masked[-1] for masked in versions])  # the longest: an error names the text by its number
    masked = [version for several in versions for version in several]
    owner = np.repeat(np.arange(len(texts)), [len(several) for several in versions])
    seeds = [
        (seed, before + number, version.count(MASK)) for number, version in zip(owner.tolist(), masked, strict=True)
    ]
    found = _filled(engine, masked, seeds, unmasking)
    best: dict[int, int] = {}
    for i, number in enumerate(owner.tolist()):
        if number not in best or found[i][1] > found[best[number]][1]:
            best[number] = i
    return [_written(engine, masked[best[number]], found[best[number]][0]) for number in range(len(texts))]


def _filled(
    engine: Engine, masked: Sequence[str], seeds: Sequence[tuple[int, ...]], unmasking: Unmasking
) -> list[tuple[np.ndarray, float]]:
    """For every text with [MASK]s, the tokens in their places and the mean of their log-probabilities."""
    mask = engine.tokenizer.vocabulary.mask
    rows = [
        MaskedRow(row, mask=mask, random=np.random.default_rng(seed), unmasking=unmasking)
        for row, seed in zip(engine.marked_rows(masked), seeds, strict=True)
    ]
    places = [row.places for row in rows]
    fill: Fill = fill_runs if "fragment" in engine.abilities.decoding else unmask
    if fill is fill_runs and (unmasking.steps is not None or unmasking.order != "confidence"):
        raise UsageError("steps and order are for unmasking, and this model writes from left to right: leave them out")
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        fill(engine, some)
        engine.watch((start + len(some)) / len(rows))
    return [(row.tokens[at], float(row.logprobs[at].mean())) for row, at in zip(rows, places, strict=True)]


def _versions(engine: Engine, text: str, number: int, gap: Gap) -> list[str]:
    """The text with [MASK]s for its gap, one version for each length; the longest is the last."""
    gaps = text.count(GAP)
    if gaps > 1:
        raise UsageError(f"text {number} has {gaps} gaps, expected one [GAP]; write [MASK] where one token is missing")
    if gaps:
        return [text.replace(GAP, MASK * length) for length in range(gap.shortest, gap.longest + 1)]
    if len(engine.tokenizer.around_masks(text)) == 1:
        raise UsageError(
            f"text {number} has neither [GAP] nor [MASK]: {text[:60]!r}. Write [GAP] where something is missing."
        )
    return [text]


def _written(engine: Engine, masked: str, found: np.ndarray) -> str:
    """The text with tokens in the places of its masks."""
    first, *others = engine.tokenizer.around_masks(masked)
    text, before, run = first, engine.tokenizer.encode(first), list[int]()
    for token, shown in zip(found.tolist(), others, strict=True):
        run.append(token)
        if shown:
            text += detokenize(engine.tokenizer, before, run) + shown
            before, run = engine.tokenizer.encode(shown), []
    return text + detokenize(engine.tokenizer, before, run)
