"""Objectives that hide words and predict them in their place: mlm, unilm1.

The pictures show a document of six words, `_` for [MASK]; the tests read them.
"""

from __future__ import annotations

from dataclasses import replace as but
from functools import partial

from bothways.batch import Vocabulary
from bothways.errors import UsageError, unknown
from bothways.model import Abilities
from bothways.objectives.arrangements import left_to_right, right_to_left, source_then_target, together
from bothways.objectives.corruptions import REPLACEMENTS, UNITS, Linear, Mask, Rate
from bothways.objectives.mixture import corrupt_by_kind, mixture
from bothways.objectives.objective import TARGET, About, Arrangement, Objective
from bothways.objectives.predictions import in_place
from bothways.objectives.sentences import SENTENCES


def masking(
    vocabulary: Vocabulary,
    *,
    rate: Rate,
    words: str,
    replace: str,
    weight: float | None = None,
    divide: bool = False,
) -> Mask:
    """The corruption that these settings name.

    Raises:
        UsageError: a rate or weight out of range, or an unknown way of choosing or replacing.
    """
    ends = (rate.start, rate.end) if isinstance(rate, Linear) else (rate,)
    if not all(0 < end <= 1 for end in ends):
        raise UsageError(f"rate is the share of the text to hide, above 0 and at most 1, got {rate}")
    if weight is not None and weight <= 0:
        raise UsageError(f"weight is what a target counts for, above 0, got {weight}")
    if words not in UNITS:
        raise unknown("value of words", words, UNITS)
    if replace not in REPLACEMENTS:
        raise unknown("value of replace", replace, REPLACEMENTS)
    return Mask(vocabulary, UNITS[words], rate, REPLACEMENTS[replace], weight, divide)


def mlm(
    vocabulary: Vocabulary,
    *,
    rate: Rate = 0.15,
    words: str = "tokens",
    replace: str = "bert",
    weight: float | None = None,
    sentences: str = "none",
) -> Objective:
    """The original word, at the hidden places; hidden anew in every epoch.

    rate     share of the text to hide; 0.3->0.15 goes from one to the other over the run
    words    what is hidden as a whole: tokens, whole (words), spans (of words), ngrams, runs (of tokens)
    replace  bert (80 % [MASK], 10 % a random token, 10 % the token itself) or all-mask
    weight   how many tokens of text one target stands for in the loss; left out, 1/rate
    sentences  what [CLS] must predict of the two halves of its document: nothing (none), whether the second follows the
               first (nsp), or whether they stand in order (sop)

    reads     a b _ d e f
    step      0 0 0 0 0 0
    predicts  . . c . . .
    sees      1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1
              1 1 1 1 1 1

    Raises:
        UsageError: a number out of range, or an unknown word.
    """
    if sentences not in SENTENCES:
        raise unknown("value of sentences", sentences, SENTENCES)
    objective = Objective(
        name="mlm",
        corrupt=masking(vocabulary, rate=rate, words=words, replace=replace, weight=weight),
        arrange=together,
        predict=in_place,
        about=About(
            summary="the original word, at the hidden places",
            paper="BERT (Devlin et al. 2019, section 3.1); RoBERTa; SpanBERT for spans",
            teaches=Abilities(faces=("encoder",), hidden="in place", decoding={"unmask": 0}),
            needs="text; word starts for words=whole and spans",
            differs="no next-sentence prediction, no span boundary objective; the rate is exact for long words too",
            requires=frozenset({"word starts"} if UNITS[words].words else ()),
        ),
    )
    add = SENTENCES[sentences]
    return add(objective, vocabulary) if add else objective


UNILM = About(
    summary="the original word, at the hidden places, read in four ways",
    paper="UniLM (Dong et al. 2019, sections 2.3 and 2.4)",
    teaches=Abilities(faces=("encoder",), hidden="in place", decoding={"append-mask": 0}),
    differs="single documents: the source and target are two parts of one; no next-sentence prediction",
    pairs=TARGET,
)


def unilm1(vocabulary: Vocabulary, *, rate: Rate = 0.15) -> Objective:
    """A cloze under four arrangements, drawn for every row: the hidden word is predicted in its place in all of them.

    One row in three is read bidirectionally, as in mlm (segment 0);
    one in three as a source and a target, cut at a random place (segments 4 and 5); so is every row of pairs, cut where
    its targets begin, and of these only targets are hidden, their [SEP] too (section 2.5 of the paper):

    reads     a b c d _ f
    step      0 0 0 3 4 5
    predicts  . . . . e .
    sees      1 1 1 0 0 0
              1 1 1 0 0 0
              1 1 1 0 0 0
              1 1 1 1 0 0
              1 1 1 1 1 0
              1 1 1 1 1 1

    one in six from left to right (segment 2), one in six from right to left (segment 3):

    reads     a b c _ e f
    step      0 1 2 3 4 5
    predicts  . . . d . .
    sees      1 0 0 0 0 0
              1 1 0 0 0 0
              1 1 1 0 0 0
              1 1 1 1 0 0
              1 1 1 1 1 0
              1 1 1 1 1 1

    reads     a _ c d e f
    step      0 -1 -2 -3 -4 -5
    predicts  . b . . . .
    sees      1 1 1 1 1 1
              0 1 1 1 1 1
              0 0 1 1 1 1
              0 0 0 1 1 1
              0 0 0 0 1 1
              0 0 0 0 0 1

    Raises:
        UsageError: a rate out of range.
    """

    def cloze(name: str, arrange: Arrangement, *, divide: bool = False) -> Objective:
        corrupt = masking(vocabulary, rate=rate, words="ngrams", replace="bert", divide=divide)
        return Objective(name=name, corrupt=corrupt, arrange=arrange, predict=in_place, about=UNILM, segments=6)

    sequences = cloze("seq2seq", partial(source_then_target, segments=(4, 5)), divide=True)
    texts = mixture(
        {
            cloze("bidirectional", together): 1 / 3,
            sequences: 1 / 3,
            cloze("left-to-right", partial(left_to_right, segments=(2, 2))): 1 / 6,
            cloze("right-to-left", partial(right_to_left, segments=(3, 3))): 1 / 6,
        },
        name="unilm1",
        about=UNILM,
    )
    return but(texts, corrupt=partial(corrupt_by_kind, sequences, texts))
