"""Predicts the hidden words of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bothways.arguments import at_least
from bothways.errors import UsageError
from bothways.inference.engine import Engine


@dataclass(frozen=True, slots=True)
class Guess:
    """One answer for one [MASK].

    token        as text, with the space before it if it has one; never a special token
    probability  among all tokens, the special ones too
    text         the whole text with this guess in its place, and the best guess at every other [MASK]
    """

    token: str
    probability: float
    text: str


@torch.inference_mode()
def fill(engine: Engine, texts: Sequence[str], *, top_k: int = 5) -> list[list[list[Guess]]]:
    """For every text, for every [MASK] in it, the `top_k` likeliest tokens, the likeliest first.

    Several masks are guessed independently of each other (Devlin et al. 2019, section 3.1).

    Raises:
        UsageError: a text without [MASK], or longer than the model reads.
        ModelError: the objective did not teach it.
    """
    engine.needs("hidden")
    at_least(1, "top_k", top_k, "how many guesses are wanted")
    mask, suppressed = engine.tokenizer.vocabulary.mask, engine.suppressed()
    rows = engine.marked_rows(texts)
    for number, (row, text) in enumerate(zip(rows, texts, strict=True), 1):
        if mask not in row:
            raise UsageError(
                f"text {number} has no [MASK]: {text[:60]!r}. Write [MASK] where a word is to be filled in."
            )
    before = engine.abilities.hidden == "before"
    found: dict[int, list[list[Guess]]] = {}
    for batch, states in engine.read_all(rows):
        for number, hidden in zip(batch.tolist(), states, strict=True):
            places = np.flatnonzero(rows[number] == mask)
            at = torch.from_numpy(places - before).to(engine.device)
            share = engine.logits(hidden[at]).softmax(-1)  # [N, V]
            share[:, suppressed] = -1.0  # ranked last, and then left out
            best = share.topk(min(top_k, share.shape[-1] - len(suppressed)))
            found[number] = _guesses(engine, rows[number], places, best.indices.cpu().numpy(), best.values.tolist())
    return [found[number] for number in range(len(rows))]


def _guesses(
    engine: Engine, row: np.ndarray, places: np.ndarray, tokens: np.ndarray, shares: list[list[float]]
) -> list[list[Guess]]:
    """tokens [N, K] and shares [N][K] -> N lists of K guesses."""
    filled = row.copy()
    filled[places] = tokens[:, 0]
    result = []
    for place, candidates, probabilities in zip(places, tokens, shares, strict=True):
        guesses = []
        for token, probability in zip(candidates, probabilities, strict=True):
            text = filled.copy()
            text[place] = token
            decoded = engine.tokenizer.decode([token]) or engine.tokenizer.tokens([token])[0]
            guesses.append(Guess(decoded, probability, engine.tokenizer.decode(text)))
        result.append(guesses)
    return result
