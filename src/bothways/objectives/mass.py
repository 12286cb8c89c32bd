"""MASS: a fragment of the text is hidden, and a decoder writes it from what stands around it.

Letters: T tokens in a row, N hidden tokens, S = T + N tokens with scaffolding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bothways.batch import Row, Target, Vocabulary
from bothways.errors import unknown
from bothways.model import Abilities
from bothways.objectives.arrangements import with_scaffold
from bothways.objectives.corruptions import Mask
from bothways.objectives.masked import masking
from bothways.objectives.mixture import by_kind
from bothways.objectives.objective import TARGET, About, Corrupted, Objective
from bothways.objectives.predictions import by_scaffold, from_before
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


def mass(vocabulary: Vocabulary, *, rate: float = 0.5, pairs: str = "fragment") -> Objective:
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

    rate   share of a text that is hidden
    pairs  the target of a pair is hidden as a fragment is, its end not among it (fragment); or the source stands alone,
           and the decoder writes the target to its end, as the model is fine-tuned (target; section 3.3)

    Raises:
        UsageError: a rate out of range, or an unknown word.
    """
    if pairs not in ("fragment", "target"):
        raise unknown("value of pairs", pairs, ("fragment", "target"))
    texts = Objective(
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
    if pairs == "fragment":
        return texts
    about = replace(texts.about, teaches=Abilities(decoding={"target": 0}, reads="all sides"))
    targets = replace(texts, corrupt=whole_target, arrange=after_source, predict=from_decoder, about=about)
    return by_kind(pairs=targets, texts=texts, name="mass", about=about)


def with_decoder(corrupted: Corrupted) -> Layout:
    """[S]: the row, all of it known at first, and behind it the fragments, word by word."""
    row, at = corrupted.row, np.flatnonzero(corrupted.chosen)
    step = np.append(np.zeros(len(row)), places(row.document[at]) + 1)
    return with_scaffold(corrupted, at - 1, step=step, group=0, hidden=corrupted.chosen)


def whole_target(row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
    """Pairs as they are, and behind the row, for each of them, the last token of its source: what a decoder is fed
    first, and then the target itself."""
    assert row.part is not None
    return Corrupted(row, np.append(row.tokens, row.tokens[_last_of_sources(row)]), row.following, row.part)


def after_source(corrupted: Corrupted) -> Layout:
    """[S]: the source, known at first; what the decoder is fed first, at step 1; the target, word by word after it."""
    first = _last_of_sources(corrupted.row)
    position = places(corrupted.row.document)
    step = np.append(np.where(corrupted.part > 0, position + 1, 0), np.ones(len(first)))
    return with_scaffold(corrupted, first, step=step, group=0)


def from_decoder(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """A word of the target is predicted by the one before it, the first by what the decoder is fed first."""
    (target,) = from_before(corrupted, layout)
    first = _last_of_sources(corrupted.row)
    at = np.asarray(target.at)
    place = np.searchsorted(first, at)
    fed = np.isin(at, first)
    return (replace(target, at=np.where(fed, len(corrupted.row) + place, at)),)


def _last_of_sources(row: Row) -> np.ndarray:
    """[pairs] the places behind which a target begins."""
    assert row.part is not None
    return np.flatnonzero((row.part[1:] > row.part[:-1]) & (row.document[1:] == row.document[:-1]))
