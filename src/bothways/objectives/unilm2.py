"""UniLM v2's pseudo-masked language model: a masked and a partially autoregressive one in a single pass.

Letters: T tokens in a row, N hidden tokens, S = T + 2N tokens with scaffolding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bothways.batch import Row, Target, Vocabulary
from bothways.errors import unknown
from bothways.model import Abilities
from bothways.objectives.arrangements import with_scaffold
from bothways.objectives.corruptions import Mask, Rate, Units, choose, number, rate_at
from bothways.objectives.masked import masking
from bothways.objectives.mixture import by_kind
from bothways.objectives.objective import TARGET, About, Corrupted, Objective
from bothways.objectives.predictions import by_scaffold, in_place
from bothways.visibility import Layout, places

BLOCKS = Units(lengths=(0.6, 0.08, 0.08, 0.08, 0.08, 0.08))
"""One token, or, four times in ten, 2 to 6 of them (Bao et al. 2020, section 3.2)."""


@dataclass(frozen=True)
class PseudoMaskedBlocks:
    """Hides a share of the text, block by block, and draws in which order the blocks become known.

    Behind the row, whose hidden places show [MASK], stand the hidden tokens and as many [MASK]s; `part` [T] is 0, and
    1, 2, ... where a block is hidden, in the order drawn.
    """

    mask: Mask

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row with blocks of words hidden, each known from a turn of its own on."""
        rate = rate_at(self.mask.rate, progress)
        eligible = np.flatnonzero(self.mask.text(row))
        unit = number(row, eligible, BLOCKS, rng)
        chosen = choose(unit, rate, rng)
        hidden = self.mask.hide(row, eligible[chosen], rng, rate)
        _, block = np.unique(unit[chosen], return_inverse=True)  # [N]
        part = np.zeros(len(row), dtype=np.int32)
        part[eligible[chosen]] = 1 + rng.permutation(block.max() + 1 if len(block) else 0)[block]
        texts = row.tokens[hidden.chosen]
        tokens = np.concatenate([hidden.tokens, texts, np.full_like(texts, self.mask.vocabulary.mask)])
        return replace(hidden, tokens=tokens, part=part)


@dataclass(frozen=True)
class PseudoMaskedTarget:
    """Pairs as they are, and behind the row a [MASK] for a share of the tokens of their targets, the ends among them
    (s2s-ft, Bao et al. 2021, section 2)."""

    mask: Mask

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row, and its pseudo masks."""
        rate = rate_at(self.mask.rate, progress)
        eligible = np.flatnonzero(row.following)
        chosen = np.zeros(len(row), dtype=bool)
        chosen[eligible[choose(np.arange(len(eligible)), rate, rng)]] = True
        masks = np.full(np.count_nonzero(chosen), self.mask.vocabulary.mask, dtype=row.tokens.dtype)
        part = np.zeros(len(row), dtype=np.int32) if row.part is None else row.part
        return Corrupted(row, np.append(row.tokens, masks), chosen, part, 1 / rate)


def unilm2(vocabulary: Vocabulary, *, rate: Rate = 0.15, pairs: str = "text") -> Objective:
    """The hidden word twice: in its place, where all hidden words are unknown, and at a pseudo mask laid behind the
    text, where the blocks drawn before are known. Here b and d e are hidden, and d e is the first block:

    reads     a _ c _ _ f b d e _ _ _
    position  0 1 2 3 4 5 1 3 4 1 3 4
    step      0 0 0 0 0 0 2 1 1 2 1 1
    group     0 0 0 0 0 0 0 0 0 1 1 1
    predicts  . b . d e . . . . b d e
    sees      1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 1 1 1 0 0 0
              1 1 1 1 1 1 0 1 1 0 0 0
              1 1 1 1 1 1 0 1 1 0 0 0
              1 1 1 1 1 1 0 1 1 1 0 0
              1 1 1 1 1 1 0 0 0 0 1 1
              1 1 1 1 1 1 0 0 0 0 1 1

    rate   share of the text that is hidden
    pairs  a pair is read as one text (text), or its target after its source, from left to right, each hidden word of it
           predicted at its pseudo mask (target)

    Raises:
        UsageError: a rate out of range, or an unknown word.
    """
    if pairs not in ("text", "target"):
        raise unknown("value of pairs", pairs, ("text", "target"))
    mask = masking(vocabulary, rate=rate, words="tokens", replace="all-mask")
    texts = Objective(
        name="unilm2",
        corrupt=PseudoMaskedBlocks(mask),
        arrange=with_pseudo_masks,
        predict=twice,
        names=("masked", "pseudo-masked"),
        about=About(
            summary="the hidden word in its place, and again at a pseudo mask that sees the blocks before",
            paper="UniLM v2 (Bao et al. 2020, section 3)",
            teaches=Abilities(faces=("encoder",), hidden="in place", decoding={"pseudo-mask": 0}),
            differs="the pseudo mask is [MASK] too; hidden places always show it; no relative position bias",
        ),
    )
    if pairs == "text":
        return texts
    about = replace(texts.about, pairs=TARGET)
    targets = Objective(
        name="pseudo-masked",
        corrupt=PseudoMaskedTarget(mask),
        arrange=with_pseudo_masks_behind,
        predict=by_scaffold,
        about=about,
    )
    return by_kind(pairs=targets, texts=texts, name="unilm2", about=about)


def with_pseudo_masks(corrupted: Corrupted) -> Layout:
    """[S]: the row, all of it known at first; the hidden tokens, each known with its block; and their pseudo masks."""
    row, at = corrupted.row, np.flatnonzero(corrupted.chosen)
    step = np.append(np.zeros(len(row)), np.tile(corrupted.part[at], 2))
    return with_scaffold(corrupted, np.tile(at, 2), step=step, group=np.repeat([0, 1], len(at)))


def with_pseudo_masks_behind(corrupted: Corrupted) -> Layout:
    """[S]: the source, known at first, and the target word by word; and for each chosen word a pseudo mask in its
    place, which stands for it as long as it is not known."""
    at = np.flatnonzero(corrupted.chosen)
    step = np.where(corrupted.part > 0, places(corrupted.row.document), 0)
    return with_scaffold(corrupted, at, step=np.append(step, step[at]))


def twice(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """A chosen word is predicted at its [MASK] in the text, and at its pseudo mask."""
    (masked,) = in_place(corrupted, layout)
    masked = replace(masked, weight=masked.weight / 2)  # one word, predicted twice
    count = len(masked.at)
    behind = len(corrupted.row) + count + np.arange(count)
    return replace(masked, name="masked"), replace(masked, at=behind, name="pseudo-masked")
