"""Objectives over parallel text: tlm, xlm.

The pictures show six words; `_` is [MASK], `|` the [SEP] that parts a pair; the tests read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as but

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.errors import UsageError
from bothways.model import Abilities
from bothways.objectives.arrangements import side_by_side
from bothways.objectives.corruptions import Mask, Rate, rate_at
from bothways.objectives.directional import causal as causal_rows
from bothways.objectives.masked import masking, mlm
from bothways.objectives.mixture import by_kind, mixture
from bothways.objectives.objective import About, Corpus, Corrupted, Corruption, Objective
from bothways.objectives.predictions import in_place

_PAPER = "XLM (Conneau & Lample 2019, section 3)"


@dataclass(frozen=True, slots=True)
class BothSides:
    """Hides tokens on both sides of a pair; in `part` the [SEP] that parts them opens the second.

    text    a b | d e f
    reads   a _ | d e f
    part    0 0 1 1 1 1
    chosen  0 1 0 0 0 0
    """

    hide: Corruption

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row hidden as a whole: no side of a pair is only read."""
        hidden = self.hide(row, rng, progress)
        return hidden if row.part is None else but(hidden, part=np.maximum(row.part, np.append(row.part[1:], 0)))


@dataclass(frozen=True, slots=True, eq=False)
class RareFirst:
    """Chooses tokens with odds [V] of their own instead of alike, a share `rate` of the text as always.

    Drawn without replacement, one after another by their odds (Efraimidis & Spirakis 2006); XLM's odds are the
    frequency of a token to the power of -0.5, so that commas are not most of what is predicted.
    """

    mask: Mask
    odds: np.ndarray

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row with a share of its words hidden, rare ones more often."""
        rate = rate_at(self.mask.rate, progress)
        eligible = np.flatnonzero(self.mask.text(row))
        count = int(rate * len(eligible) + rng.random())
        waits = rng.exponential(size=len(eligible)) / self.odds[row.tokens[eligible]]
        return self.mask.hide(row, np.sort(eligible[np.argsort(waits)[:count]]), rng, rate)


def hiding(vocabulary: Vocabulary, *, rate: Rate, reweight: float, corpus: Corpus | None) -> Corruption:
    """BERT's masking, of all tokens alike or with odds that fall with their frequency.

    Raises:
        UsageError: a number out of range, or no corpus to count in.
    """
    mask = masking(vocabulary, rate=rate, words="tokens", replace="bert")
    if not 0 <= reweight <= 1:
        raise UsageError(f"reweight is the power by which frequent tokens are hidden less, 0 to 1, got {reweight}")
    if not reweight:
        return mask
    if corpus is None:
        raise UsageError("reweight counts the tokens of a corpus, and there is none here; leave it out to look")
    return RareFirst(mask, np.maximum(corpus.counts(), 1.0) ** -reweight)


def tlm(vocabulary: Vocabulary, *, rate: Rate = 0.15, reweight: float = 0.0, corpus: Corpus | None = None) -> Objective:
    """The original word, at the hidden places of both sides of a pair; the other side may show it.

    rate      share of the text to hide
    reweight  how much less frequent tokens are hidden: odds go with frequency to the power of -reweight (XLM: 0.5)

    text      a b | d e f
    reads     a _ | d e f
    position  0 1 0 1 2 3
    step      0 0 0 0 0 0
    predicts  . b . . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    Raises:
        UsageError: a number out of range.
    """
    return Objective(
        name="tlm",
        corrupt=BothSides(hiding(vocabulary, rate=rate, reweight=reweight, corpus=corpus)),
        arrange=side_by_side,
        predict=in_place,
        about=About(
            summary="the original word, at the hidden places of a text and its translation",
            paper=_PAPER,
            teaches=Abilities(faces=("encoder",), hidden="in place"),
            needs="pairs of texts",
            differs="[SEP] opens the second side (position 0); languages are segments: the classic shape embeds them, "
            "the modern one has no segments, as XLM-R has no language embeddings",
            requires=frozenset({"pairs", "languages"}),
            pairs="hides tokens of both texts of a pair",
        ),
    )


def xlm(
    vocabulary: Vocabulary,
    *,
    rate: Rate = 0.15,
    causal: float = 0.0,
    reweight: float = 0.0,
    corpus: Corpus | None = None,
) -> Objective:
    """Rows of pairs are read as in tlm:

    text      a b | d e f
    reads     a _ | d e f
    position  0 1 0 1 2 3
    step      0 0 0 0 0 0
    predicts  . b . . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    rows of text in one language as in mlm (or, a share `causal` of them, as in causal):

    reads     a b _ d e f
    step      0 0 0 0 0 0
    predicts  . . c . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    `rate` and `reweight` are those of tlm.

    Raises:
        UsageError: a number out of range.
    """
    if not 0 <= causal <= 1:
        raise UsageError(f"causal is the share of the rows of text that are causal, 0 to 1, got {causal}")
    hide = hiding(vocabulary, rate=rate, reweight=reweight, corpus=corpus)
    masked, left_to_right = but(mlm(vocabulary), corrupt=hide), causal_rows(vocabulary)
    shares = {left_to_right: causal, masked: 1 - causal}
    texts = mixture({member: share for member, share in shares.items() if share}, name="texts")
    pairs = tlm(vocabulary, rate=rate, reweight=reweight, corpus=corpus)
    about = but(
        pairs.about,
        summary="the original word, at the hidden places of texts in several languages and of their translations",
        teaches=but(pairs.about.teaches, faces=("encoder", "decoder") if causal else ("encoder",)),
        needs="texts and pairs of texts",
        differs=f"a batch mixes languages; {pairs.about.differs}",
    )
    return by_kind(pairs=pairs, texts=texts, name="xlm", about=about)
