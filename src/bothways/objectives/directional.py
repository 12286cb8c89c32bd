"""Objectives that read in one direction at a time and hide nothing: causal, reversed, elmo, prefix.

The pictures show a document of six words: what is read, the step at which it becomes known, what is predicted, and who
sees whom. The tests read them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from bothways.batch import Row, Target, Vocabulary
from bothways.model import Abilities
from bothways.objectives.arrangements import left_to_right, right_to_left, source_then_target, with_scaffold
from bothways.objectives.corruptions import nothing, split
from bothways.objectives.objective import TARGET, About, Corrupted, Objective
from bothways.objectives.predictions import from_before, from_behind
from bothways.visibility import Layout, places


def causal(vocabulary: Vocabulary) -> Objective:
    """The next word, everywhere.

    reads     a b c d e f
    step      0 1 2 3 4 5
    predicts  b c d e f .
    sees      1 0 0 0 0 0
              1 1 0 0 0 0
              1 1 1 0 0 0
              1 1 1 1 0 0
              1 1 1 1 1 0
              1 1 1 1 1 1
    """
    about = About(
        summary="the next word, everywhere",
        paper="GPT (Radford et al. 2018, section 3.1)",
        teaches=Abilities(faces=("decoder",)),
        pairs=TARGET,
    )
    return Objective(name="causal", corrupt=nothing, arrange=left_to_right, predict=from_before, about=about)


def reversed_(vocabulary: Vocabulary) -> Objective:
    """The previous word, everywhere.

    reads     a b c d e f
    step      0 -1 -2 -3 -4 -5
    predicts  . a b c d e
    sees      1 1 1 1 1 1
              0 1 1 1 1 1
              0 0 1 1 1 1
              0 0 0 1 1 1
              0 0 0 0 1 1
              0 0 0 0 0 1
    """
    about = About(
        summary="the previous word, everywhere",
        paper="the backward half of ELMo (Peters et al. 2018, section 3.1)",
        teaches=Abilities(decoding={"backward": 0}, reads="right to left"),
        differs="a language model of its own, not one of two",
    )
    return Objective(
        name="reversed",
        corrupt=partial(_all_but_the_opener, opener=vocabulary.cls),
        arrange=right_to_left,
        predict=from_behind,
        about=about,
    )


def _all_but_the_opener(row: Row, rng: np.random.Generator, progress: float, *, opener: int) -> Corrupted:
    # Every row is opened by [CLS], also one cut out of the middle of a document, where no [CLS] comes before its
    # first word: learnt there, it would end texts at random when they are written backwards.
    corrupted = nothing(row.as_text, rng, progress)
    corrupted.chosen[0] = row.tokens[0] != opener
    return corrupted


def elmo(vocabulary: Vocabulary) -> Objective:
    """The next word and the previous word: the document is laid twice, and each copy is read in one direction. The
    copies do not see each other. They share everything, the softmax too:

    reads     a b c d e f a b c d e f
    position  0 1 2 3 4 5 0 1 2 3 4 5
    step      0 1 2 3 4 5 0 -1 -2 -3 -4 -5
    predicts  b c d e f . . a b c d e
    sees      1 0 0 0 0 0 0 0 0 0 0 0
              1 1 0 0 0 0 0 0 0 0 0 0
              1 1 1 0 0 0 0 0 0 0 0 0
              1 1 1 1 0 0 0 0 0 0 0 0
              1 1 1 1 1 0 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0 0
              0 0 0 0 0 0 1 1 1 1 1 1
              0 0 0 0 0 0 0 1 1 1 1 1
              0 0 0 0 0 0 0 0 1 1 1 1
              0 0 0 0 0 0 0 0 0 1 1 1
              0 0 0 0 0 0 0 0 0 0 1 1
              0 0 0 0 0 0 0 0 0 0 0 1
    """
    about = About(
        summary="the next word and, in a second copy of the text, the previous word",
        paper="ELMo (Peters et al. 2018, section 3)",
        teaches=Abilities(reads="both directions"),
        differs="one Transformer for both directions, over tokens; the paper has two LSTMs over characters",
    )
    return Objective(
        name="elmo",
        corrupt=partial(_twice, opener=vocabulary.cls),
        arrange=both_directions,
        predict=both_neighbours,
        names=("forward", "backward"),
        about=about,
    )


def _twice(row: Row, rng: np.random.Generator, progress: float, *, opener: int) -> Corrupted:
    corrupted = _all_but_the_opener(row, rng, progress, opener=opener)
    return replace(corrupted, tokens=np.tile(row.tokens, 2))


def both_directions(corrupted: Corrupted) -> Layout:
    """[2T]: the row from left to right, and its copy, a document of its own, from right to left."""
    length, position = len(corrupted.row), places(corrupted.row.document)
    layout = with_scaffold(corrupted, np.arange(length), step=np.append(position, -position), group=0)
    layout.document[length:] += np.where(layout.real[length:], length, 0)
    return layout


def both_neighbours(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """Each word is predicted by the one before it, and in the copy by the one behind it."""
    everywhere = replace(corrupted, chosen=np.ones(len(corrupted.row), dtype=bool))
    (following,), (previous,) = from_before(everywhere, layout), from_behind(corrupted, layout)
    behind = np.asarray(previous.at) + len(corrupted.row)
    return (  # one word, predicted twice
        replace(following, name="forward", weight=following.weight / 2),
        replace(previous, at=behind, name="backward", weight=previous.weight / 2),
    )


def prefix(vocabulary: Vocabulary) -> Objective:
    """Every document is cut in two at a random place: the source is read from all sides, the target is predicted.

    reads     a b c d e f
    step      0 0 0 3 4 5
    predicts  . . d e f .
    sees      1 1 1 0 0 0
              1 1 1 0 0 0
              1 1 1 0 0 0
              1 1 1 1 0 0
              1 1 1 1 1 0
              1 1 1 1 1 1
    """
    about = About(
        summary="the next word of a target, after a source read from all sides",
        paper="prefix LM (T5, Raffel et al. 2020, section 3.2.1)",
        teaches=Abilities(faces=("decoder",), decoding={"prefix": 0}),
        differs="packed rows: every document in the row is cut at a place of its own",
        pairs=TARGET,
    )
    return Objective(name="prefix", corrupt=split, arrange=source_then_target, predict=from_before, about=about)
