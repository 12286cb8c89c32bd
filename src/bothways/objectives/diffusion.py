"""Masked diffusion: a cloze at every rate, weighted so that the loss bounds the text's likelihood.

A rate t ~ U(0, 1) is drawn and each of E tokens is hidden with probability t; the loss is the sum over the hidden ones
of -log p / t (MDLM, Sahoo et al. 2024; LLaDA, Nie et al. 2025, section 2.2). Then the number n of hidden tokens is
uniform over 0..E, which of them are hidden is uniform too, and given n the mean of 1/t is (E + 1)/n. So drawing n from
1..E, and weighting by E/n, is the same loss in expectation, of less variance: no weight is above E, and every row has
weights that sum to its E tokens. It is the mean over all orders of the tokens of what an any-order model predicts.

So that the bound is one of what a causal model's loss measures, the same tokens are hidden that it predicts: all of a
document but its first, [SEP] and [UNK] among them (`Row.following`).

Letters: T tokens in a row, S tokens with scaffolding, E tokens that may be hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bothways.batch import Row, Target, Vocabulary
from bothways.errors import UsageError
from bothways.model import Abilities
from bothways.objectives.arrangements import together, with_scaffold
from bothways.objectives.corruptions import Mask
from bothways.objectives.masked import masking
from bothways.objectives.objective import TARGET, About, Corrupted, Objective
from bothways.objectives.predictions import in_place
from bothways.visibility import Layout, places


@dataclass(frozen=True)
class AnyNumber:
    """In every block a number of tokens is hidden, any number from one to all.

    mask    hides them
    size    tokens in a block, counted from a document's [CLS]; 0: the row is one block
    """

    mask: Mask
    size: int = 0

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row with 1 to all words of each block hidden, every number as likely."""
        block = self.blocks(row)
        eligible = np.flatnonzero(row.following)
        _, unit = np.unique(block[eligible], return_inverse=True)  # [E]
        tokens = np.bincount(unit)  # in each block
        hidden = 1 + (rng.random(len(tokens)) * tokens).astype(np.int64)
        order = np.lexsort((rng.random(len(eligible)), unit))  # within each block at random
        chosen = np.sort(order[places(unit[order]) < hidden[unit[order]]])
        weight = np.zeros(len(row))
        weight[eligible] = (tokens / hidden)[unit]
        return replace(self.mask.hide(row, eligible[chosen], rng, rate=1.0), part=block, weight=weight)

    def blocks(self, row: Row) -> np.ndarray:
        """[T] int32: the number of each token's block, of which a document has its own."""
        if not self.size:
            return np.zeros(len(row), dtype=np.int32)
        opens = places(row.document) % self.size == 0
        return np.cumsum(opens, dtype=np.int32) - 1


def diffusion(vocabulary: Vocabulary) -> Objective:
    """The original word at the hidden places, of which there are any number from one to all.

    reads     a _ _ d _ f
    step      0 0 0 0 0 0
    predicts  . b c . e .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
    """
    return Objective(
        name="diffusion",
        corrupt=AnyNumber(_all_masked(vocabulary)),
        arrange=together,
        predict=in_place,
        about=About(
            summary="the original word, at hidden places of which there are one to all",
            paper="masked diffusion: MDLM (Sahoo et al. 2024), LLaDA (Nie et al. 2025, section 2.2)",
            teaches=Abilities(faces=("encoder",), hidden="in place", decoding={"unmask": 0}),
            differs="the number of hidden words is drawn, not the rate: the same loss with less noise; a document's "
            "first token, [CLS], is never hidden",
            bound=True,
            pairs=TARGET,
        ),
    )


def block_diffusion(vocabulary: Vocabulary, *, size: float = 16) -> Objective:
    """Diffusion block by block: a noisy copy of the row is laid behind it, and each of its blocks sees itself and the
    clean blocks before it. Here `size`, the tokens in a block, is 3:

    reads     a b c d e f a _ c _ _ f
    position  0 1 2 3 4 5 0 1 2 3 4 5
    step      0 0 0 1 1 1 0 0 0 1 1 1
    group     0 0 0 0 0 0 1 1 1 1 1 1
    predicts  . . . . . . . b . d e .
    sees      1 1 1 0 0 0 0 0 0 0 0 0
              1 1 1 0 0 0 0 0 0 0 0 0
              1 1 1 0 0 0 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              0 0 0 0 0 0 1 1 1 0 0 0
              0 0 0 0 0 0 1 1 1 0 0 0
              0 0 0 0 0 0 1 1 1 0 0 0
              1 1 1 0 0 0 0 0 0 1 1 1
              1 1 1 0 0 0 0 0 0 1 1 1
              1 1 1 0 0 0 0 0 0 1 1 1

    Blocks of one token are a causal model with a query stream; a block as long as the row is masked diffusion.

    Raises:
        UsageError: a size that is no number of tokens.
    """
    if size != int(size) or size < 1:
        raise UsageError(f"size is how many tokens a block has, 1 or more, got {size:g}")
    return Objective(
        name="block-diffusion",
        corrupt=partial(_beside_clean, AnyNumber(_all_masked(vocabulary), int(size))),
        arrange=beside_clean,
        predict=behind_clean,
        about=About(
            summary="block by block, the original word at hidden places of which there are one to all",
            paper="block diffusion: BD3-LM (Arriola et al. 2025, section 3)",
            teaches=Abilities(decoding={"blocks": int(size)}),
            differs="as of diffusion; no clipped noise schedule",
            bound=True,
            pairs=TARGET,
        ),
    )


def _all_masked(vocabulary: Vocabulary) -> Mask:
    return masking(vocabulary, rate=1.0, words="tokens", replace="all-mask")


def _beside_clean(hide: AnyNumber, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
    noisy = hide(row, rng, progress)
    return replace(noisy, tokens=np.concatenate([row.tokens, noisy.tokens]))


def beside_clean(corrupted: Corrupted) -> Layout:
    """[S = 2T]: the text, known block by block, and its noisy copy in the same positions, which is scaffolding."""
    return with_scaffold(corrupted, np.arange(len(corrupted.row)), step=np.tile(corrupted.part, 2))


def behind_clean(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """A chosen word is predicted in its place in the noisy copy."""
    (target,) = in_place(corrupted, layout)
    return (replace(target, at=np.asarray(target.at) + len(corrupted.row)),)
