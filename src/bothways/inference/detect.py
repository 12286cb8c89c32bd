"""Which words of a text do not belong where they stand? What a discriminator tells (ELECTRA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bothways.inference.engine import Engine


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word of a text, as it stands there, and the chance that it was replaced."""

    word: str
    replaced: float


@torch.inference_mode()
def detect(engine: Engine, texts: Sequence[str]) -> list[list[Verdict]]:
    """Every word of every text, in order.

    A word of several tokens was replaced if one of them was; the model judges tokens apart, so their chances multiply.
    A text longer than the model reads is read in parts.

    Raises:
        ModelError: the objective did not teach it.
    """
    engine.needs("detect")
    rows, text_of = engine.rows(texts, closed=True)
    kept: dict[int, np.ndarray] = {}
    for batch, states in engine.read_all(rows):
        chances = torch.sigmoid(engine.logits(states.float(), "replaced")).cpu().numpy()  # [B, T]
        kept |= {number: chances[i, : len(rows[number])] for i, number in enumerate(batch.tolist())}
    found: list[list[Verdict]] = [[] for _ in texts]
    for number, row in enumerate(rows):
        found[text_of[number]] += _words(engine, row, 1 - kept[number])
    return found


def _words(engine: Engine, row: np.ndarray, original: np.ndarray) -> list[Verdict]:
    """The words of the text in a row; `original` [T] is each token's chance to be what was written."""
    inside = engine.inside(row)
    begins = engine.tokenizer.word_starts(row)[inside]
    begins[:1] = True  # a part of a text may begin within a word
    places = np.split(inside, np.flatnonzero(begins))[1:]
    decode = engine.tokenizer.decode
    return [Verdict(decode(row[place]).strip(), float(1 - original[place].prod())) for place in places]
