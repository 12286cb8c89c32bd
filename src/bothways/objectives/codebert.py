"""Words hidden in pairs of comment and code, and words replaced by n-gram models: codebert.

The pictures show a document of six words, `_` for [MASK]; the tests read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as but

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.errors import UsageError
from bothways.model import Abilities
from bothways.model.heads.binary import replaced
from bothways.objectives.arrangements import together
from bothways.objectives.corruptions import Mask
from bothways.objectives.masked import masking
from bothways.objectives.masked import mlm as masked_rows
from bothways.objectives.mixture import by_kind, mixture
from bothways.objectives.objective import About, Corpus, Corrupted, Filler, Objective
from bothways.objectives.predictions import original_or_replaced


@dataclass(frozen=True, slots=True, eq=False)
class AnyToken:
    """Draws from all tokens of text alike: for looking at the objective, where there is no corpus to count in."""

    text: np.ndarray

    def draw(self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Tokens [N] of the text's vocabulary, whatever stands beside them."""
        return self.text[rng.integers(len(self.text), size=len(left))]


@dataclass(frozen=True, slots=True, eq=False)
class Replace:
    """A share of the text is replaced by what n-gram models of its language draw, given the true tokens beside it.

    text    a b c d e f
    reads   a b f d e f
    chosen  0 0 1 0 0 0

    A draw may hit the token that stood there: then nothing was replaced.
    """

    mask: Mask
    other: Filler
    fillers: Mapping[int, Filler] = field(default_factory=dict)

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row, of whose chosen words some are replaced by what generators draw."""
        corrupted = self.mask(row, rng, progress)
        tokens = row.tokens.copy()
        edge = self.mask.vocabulary.pad
        before, behind = np.append(edge, tokens[:-1]), np.append(tokens[1:], edge)
        chosen = np.flatnonzero(corrupted.chosen)
        language = np.zeros(len(chosen), dtype=np.int32) if row.language is None else row.language[chosen]
        for number in np.unique(language).tolist():
            at = chosen[language == number]
            tokens[at] = self.fillers.get(number, self.other).draw(before[at], behind[at], rng)
        return but(corrupted, tokens=tokens, chosen=self.mask.text(row), weight=1.0)


def rtd(vocabulary: Vocabulary, *, rate: float, corpus: Corpus | None, about: About) -> Objective:
    """Replaced-token detection with fixed generators, one for each language of the corpus."""
    mask = masking(vocabulary, rate=rate, words="tokens", replace="all-mask")
    anything = AnyToken(np.flatnonzero(vocabulary.text_table()))
    fillers = corpus.fillers() if corpus else {}
    return Objective(
        name="rtd",
        corrupt=Replace(mask, anything, fillers),
        arrange=together,
        predict=original_or_replaced,
        about=about,
        heads={"replaced": replaced},
    )


def codebert(
    vocabulary: Vocabulary, *, rate: float = 0.15, mlm: float = 0.5, corpus: Corpus | None = None
) -> Objective:
    """The hidden word in a share `mlm` of the rows of pairs, every hidden place showing [MASK] (`|` parts the pair):

    text      a b | d e f
    reads     a b | _ e f
    step      0 0 0 0 0 0
    predicts  . . . d . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    in all other rows, of every token of text, whether it is the original; some were replaced by n-gram models.

    rate  share of the text to hide, or to replace

    Raises:
        UsageError: a number out of range.
    """
    if not 0 < mlm < 1:
        raise UsageError(f"mlm is the share of the rows of pairs that hide words, above 0 and below 1, got {mlm}")
    about = About(
        summary="the hidden word, in pairs of comment and code; and of every word, whether it was replaced",
        paper="CodeBERT (Feng et al. 2020, section 3.4)",
        teaches=Abilities(faces=("encoder",), hidden="in place"),
        needs="pairs of comment and code, and code alone",
        differs="a row is masked or replaced, not both; n-gram models count all text of their language, tokens rather "
        "than words, and see the true neighbours",
        requires=frozenset({"pairs", "languages"}),
        pairs="hides or replaces tokens of both texts of a pair",
    )
    masked = but(masked_rows(vocabulary, rate=rate, replace="all-mask"), about=about)
    detect = rtd(vocabulary, rate=rate, corpus=corpus, about=about)
    pairs = mixture({masked: mlm, detect: 1 - mlm}, name="pairs", about=about)
    return by_kind(pairs=pairs, texts=detect, name="codebert", about=about)
