"""Words that can stand for labels, found by labelled examples (Schick et al. 2020, "Automatically identifying words
that can serve as labels", section 4, with its likelihood ratio and balanced weights).

A token is good for a label where the odds that a pattern is filled by it are high in the examples of the label, and low
in the others': the mean of log p / (1 - p) there less the mean of it elsewhere, which is the paper's sum by a constant.

Letters: E examples, V vocabulary, W tokens that are words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bothways.arguments import at_least
from bothways.errors import DataError, UsageError
from bothways.inference.engine import Engine
from bothways.inference.prompting import How, LabelScores, clozes_of, collated, fitted, way_of
from bothways.tasks.labels import natural
from bothways.tasks.pattern import Pattern, at_mask
from bothways.text.characters import ALONE, kind_of

CANDIDATES = 1000
"""Tokens that are the likeliest over a label's examples: others have odds that say little."""


@dataclass(frozen=True, slots=True)
class LabelWord:
    """A token that can stand for a label.

    odds  the mean log odds in the label's examples less that in the others, in nats
    """

    word: str
    odds: float


def label_words(
    engine: Engine,
    pattern: Pattern,
    examples: Sequence[tuple[tuple[str, ...], str]],
    *,
    how: How | None = None,
    top_k: int = 10,
) -> dict[str, list[LabelWord]]:
    """{label: the `top_k` best words, the best first}, each of them a single token; a word stands with one label alone,
    that for which it is better.

    Args:
        examples: texts of an example, and its label.

    Raises:
        DataError: fewer than two labels.
        ModelError: the objective did not teach it.
        UsageError: a pattern with several masks, or that does not fit.
    """
    at_least(1, "top_k", top_k, "how many words are wanted")
    labels = sorted({label for _, label in examples}, key=natural)
    if len(labels) < 2:
        raise DataError(f"expected examples of two labels or more to find words by, got {', '.join(labels) or 'none'}")
    if pattern.masks > 1:
        raise UsageError(f"pattern {pattern.text!r}: words are found for one [MASK], got {pattern.masks}")
    words = _words(engine, pattern)
    if not len(words):
        raise UsageError("expected a tokenizer with tokens that are words, got none that can stand behind this pattern")
    found = _log_probabilities(engine, pattern, [texts for texts, _ in examples], words, how)  # [E, W]
    odds = found - np.log1p(-np.minimum(np.exp(found), 1 - 1e-9))
    own = np.array([[label == one for one in labels] for _, label in examples])  # [E, labels]
    ratio = np.stack([odds[some].mean(0) - odds[~some].mean(0) for some in own.T])  # [labels, W]
    likely = np.stack([found[some].sum(0) for some in own.T])
    result = {}
    for row, label in enumerate(labels):
        candidates = np.argsort(-likely[row], kind="stable")[:CANDIDATES]
        candidates = candidates[ratio[:, candidates].argmax(0) == row]
        best = candidates[np.argsort(-ratio[row, candidates], kind="stable")][:top_k]
        result[label] = [LabelWord(engine.tokenizer.text_of(int(words[i])).strip(), float(ratio[row, i])) for i in best]
    return result


def _words(engine: Engine, pattern: Pattern) -> np.ndarray:
    """The tokens [W] that are whole words where the pattern has its mask: of two letters or more, or an ideograph, and
    written by the user they are that token again."""
    tokenizer = engine.tokenizer
    before = "".join(text + ("x" if field else "") for text, field in pattern.before)
    lead = " " if before[-1:].isspace() else ""
    if tokenizer.vocabulary.mask >= 0:
        _, _, lead = at_mask(tokenizer, before, "")
    numbers = [one for one in range(tokenizer.vocabulary.size) if one not in tokenizer.vocabulary.special]
    spelt = {one: tokenizer.text_of(one).strip() for one in numbers if not tokenizer.is_inside(one)}
    long = {one: text for one, text in spelt.items() if text.isalpha() and (len(text) > 1 or kind_of(text) == ALONE)}
    encoded = tokenizer.encode_batch([lead + text for text in long.values()])
    kept = [one for one, tokens in zip(long, encoded, strict=True) if tokens.tolist() == [one]]
    return np.array(kept, dtype=np.int64)


@torch.inference_mode()
def _log_probabilities(
    engine: Engine, pattern: Pattern, texts: Sequence[tuple[str, ...]], words: np.ndarray, how: How | None
) -> np.ndarray:
    """log p of each of the words where the pattern has its mask, float64 [E, W]."""
    found = np.zeros((len(texts), len(words)))
    some = torch.from_numpy(words).to(engine.device)
    asked = LabelScores(())
    if way_of(engine, how) == "fill":
        clozes = clozes_of(engine, pattern, texts, (1,), asked)
        for batch in engine.passes([len(one) for one in clozes]):
            tokens, layout, at = collated(engine, [clozes[i] for i in batch])
            logits = engine.logits(engine.states(tokens, layout, at=at))
            found[batch] = logits.log_softmax(-1)[:, some].cpu().numpy()
        return found
    opening, _ = engine.around(closed=False)

    def row(before: str) -> np.ndarray:
        return np.array([*opening, *engine.tokenizer.encode(before.rstrip())] or engine.tokenizer.nothing, np.int64)

    rows = [row(before) for before, _ in fitted(engine, pattern, texts, lambda before, _: 1 + len(row(before)), asked)]
    for batch in engine.passes([len(one) for one in rows]):
        ends = np.array([len(rows[i]) - 1 for i in batch])
        hidden = engine.read([rows[i] for i in batch], face="decoder", places=ends)
        found[batch] = engine.logits(hidden).log_softmax(-1)[:, some].cpu().numpy()
    return found
