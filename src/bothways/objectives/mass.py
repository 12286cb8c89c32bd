"""MASS: a fragment of the text is hidden, and a decoder writes it from what stands around it.

Letters: T tokens in a row, N hidden tokens, S = T + N tokens with scaffolding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.model import Abilities
from bothways.objectives.arrangements import with_scaffold
from bothways.objectives.corruptions import Mask
from bothways.objectives.masked import masking
from bothways.objectives.objective import TARGET, About, Corrupted, Objective
from bothways.objectives.predictions import by_scaffold
from bothways.visibility import Layout, places

AT_AN_END = 0.2  # of the fragments begin with the text, as many end with it (the published code)


@dataclass(frozen=True)
class Fragment:
    """In every document one run of tokens is hidden, a share `rate` of them, in a pair its target; behind the row stand
    the tokens that the decoder reads: for each hidden token the one before it."""

    mask: Mask
    rate: float

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row with a fragment hidden, and behind it the tokens that a decoder is fed."""
        if row.part is None:
            hidden = self.mask.hide(row, self.fragments(row, rng), rng, self.rate)
        else:  # the fragment of a pair is its target
            hidden = self.mask.hide(row, np.flatnonzero(self.mask.text(row) & row.following), rng, 1.0)
        at = np.flatnonzero(hidden.chosen)
        return replace(hidden, tokens=np.concatenate([hidden.tokens, row.tokens[at - 1]]))

    def fragments(self, row: Row, rng: np.random.Generator) -> np.ndarray:
        """[N] the places to hide, one run in every document that has text behind its first token."""
        eligible = np.flatnonzero(self.mask.text(row) & (places(row.document) > 0))
        document = row.document[eligible]
        tokens = np.bincount(document, minlength=1)  # [D]
        count = np.maximum(np.round(self.rate * tokens), 1).astype(np.int64)
        where, free = rng.random(len(tokens)), np.maximum(tokens - count, 0)
        inside = (rng.random(len(tokens)) * (free + 1)).astype(np.int64)
        first = np.where(where < AT_AN_END, 0, np.where(where < 2 * AT_AN_END, free, inside))
        rank = places(document)
        return np.asarray(eligible[(rank >= first[document]) & (rank < (first + count)[document])])


def mass(vocabulary: Vocabulary, *, rate: float = 0.5) -> Objective:
    """A hidden fragment, word by word, by a decoder that sees the text around it and the fragment's words before. For
    each word it reads the one before, in that one's place; the hidden places are seen by the text alone. Here c d is
    hidden:

    reads     a b _ _ e f b c
    position  0 1 2 3 4 5 1 2
    step      0 0 0 0 0 0 1 2
    predicts  . . . . . . c d
    sees      1 1 1 1 1 1 0 0
              1 1 1 1 1 1 0 0
              1 1 1 1 1 1 0 0
              1 1 1 1 1 1 0 0
              1 1 1 1 1 1 0 0
              1 1 1 1 1 1 0 0
              1 1 0 0 1 1 1 0
              1 1 0 0 1 1 1 1

    Raises:
        UsageError: a rate out of range.
    """
    return Objective(
        name="mass",
        corrupt=Fragment(masking(vocabulary, rate=rate, words="tokens", replace="all-mask"), rate),
        arrange=with_decoder,
        predict=by_scaffold,
        about=About(
            summary="a hidden fragment, word by word, after the text around it",
            paper="MASS (Song et al. 2019, section 3)",
            teaches=Abilities(decoding={"fragment": 0}, reads="all sides"),
            differs="encoder and decoder are one Transformer; every hidden token shows [MASK]",
            pairs=TARGET,
        ),
    )


def with_decoder(corrupted: Corrupted) -> Layout:
    """[S]: the row, all of it known at first, and behind it the fragments, word by word."""
    row, at = corrupted.row, np.flatnonzero(corrupted.chosen)
    step = np.append(np.zeros(len(row)), places(row.document[at]) + 1)
    return with_scaffold(corrupted, at - 1, step=step, group=0, hidden=corrupted.chosen)
