"""One set of weights that reads both ways: hybrid, gpt-bert.

The pictures show a document of six words, `_` for [MASK]; the tests read them.
"""

from __future__ import annotations

from dataclasses import replace as but

from bothways.batch import Vocabulary
from bothways.errors import UsageError
from bothways.model import Abilities
from bothways.objectives.corruptions import Linear, Rate
from bothways.objectives.directional import causal as causal_rows
from bothways.objectives.masked import masking, mlm
from bothways.objectives.mixture import mixture
from bothways.objectives.objective import ONE_TEXT, TARGET, About, Objective
from bothways.objectives.predictions import from_before

FALLING = Linear(0.30, 0.15)


def hybrid(
    vocabulary: Vocabulary,
    *,
    causal: float = 0.5,
    rate: Rate = 0.15,
    words: str = "tokens",
    weight: float | None = None,
) -> Objective:
    """Rows of two kinds. A share `causal` of them predicts the next word:

    reads     a b c d e f
    step      0 1 2 3 4 5
    predicts  b c d e f .
    sees      1 0 0 0 0 0
              1 1 0 0 0 0
              1 1 1 0 0 0
              1 1 1 1 0 0
              1 1 1 1 1 0
              1 1 1 1 1 1

    the others predict the hidden word, in its place, and every hidden place shows [MASK]: so the input shows which of
    the two is the target, and both faces predict where they always do.

    reads     a b _ d e f
    step      0 0 0 0 0 0
    predicts  . . c . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    `rate`, `words` and `weight` are those of mlm.

    Raises:
        UsageError: a number out of range, or an unknown word.
    """
    _proper_share(causal)
    masked = mlm(vocabulary, rate=rate, words=words, replace="all-mask", weight=weight)
    return mixture(
        {causal_rows(vocabulary): causal, masked: 1 - causal},
        name="hybrid",
        about=About(
            summary="the next word in causal rows, the hidden word at its place in masked rows",
            paper="after GPT-BERT (Charpentier & Samuel 2024)",
            teaches=Abilities(faces=("encoder", "decoder"), hidden="in place"),
            needs=masked.about.needs,
            differs="hidden words are predicted in their own place and always show [MASK], so that both faces work",
            pairs=f"{TARGET} in causal rows, {ONE_TEXT} in masked rows",
        ),
    )


def gpt_bert(vocabulary: Vocabulary, *, causal: float = 1 / 16, rate: Rate = FALLING) -> Objective:
    """The paper's alignment: word i + 1 is predicted from place i, in causal rows (a share `causal` of all)

    reads     a b c d e f
    step      0 1 2 3 4 5
    predicts  b c d e f .
    sees      1 0 0 0 0 0
              1 1 0 0 0 0
              1 1 1 0 0 0
              1 1 1 1 0 0
              1 1 1 1 1 0
              1 1 1 1 1 1

    and in masked rows, where 1 to 3 tokens are hidden together, at a rate that falls over the run:

    reads     a b _ d e f
    step      0 0 0 0 0 0
    predicts  . c . . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    Raises:
        UsageError: a number out of range.
    """
    _proper_share(causal)
    about = About(
        summary="the next word in causal rows, and in masked rows where the next is hidden",
        paper="GPT-BERT (Charpentier & Samuel 2024)",
        teaches=Abilities(faces=("decoder",), hidden="before"),
        differs="rows are drawn, not processors, so any number of processors will do; no z-loss of 1e-4",
        pairs=f"{TARGET} in causal rows, {ONE_TEXT} in masked rows",
    )
    next_word = but(causal_rows(vocabulary), about=about)
    masked_next_word = but(
        mlm(vocabulary),
        corrupt=masking(vocabulary, rate=rate, words="runs", replace="bert"),
        predict=from_before,
        about=about,
    )
    return mixture({next_word: causal, masked_next_word: 1 - causal}, name="gpt-bert", about=about)


def _proper_share(causal: float) -> None:
    if not 0 < causal < 1:
        raise UsageError(
            f"causal is the share of causal rows, above 0 and below 1, got {causal}; for one kind of row alone there "
            "are the objectives 'causal' and 'mlm'"
        )
