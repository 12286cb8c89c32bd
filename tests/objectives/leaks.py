"""No place may reach, at any depth, the word that it must say. One check for every objective, now and later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bothways.batch import Row, Sample
from bothways.objectives import Objective, mixture
from bothways.objectives.corruptions import Mask, Replacement
from bothways.objectives.pairs import BothSides
from bothways.objectives.predictions import in_place
from bothways.objectives.seq2seq import Written
from bothways.visibility import reachable
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, own_document


def draw(objective: Objective, row: Row, *, seed: int, progress: float) -> Sample:
    return objective.sample(row, np.random.default_rng(seed), progress)


def without_keeping(objective: Objective) -> Objective:
    """The same, but a chosen word never stays as it is.

    One chosen word in ten is shown by design (BERT, section 3.1: so that a word's state is about the word itself); the
    reader is not told which. That is no leak of the arrangement, so the check hides or replaces all that is chosen.
    """
    if objective.loss is not None:  # ELECTRA: it is the generator that must not see what it says
        objective = replace(objective, predict=in_place, loss=None)
    if objective.members:
        members = {without_keeping(member): share for member, share in objective.members}
        return mixture(members, name=objective.name, about=objective.about)
    if isinstance(objective.corrupt, BothSides) and isinstance(objective.corrupt.hide, Mask):
        hide = replace(objective.corrupt.hide, replacement=Replacement(0.5, 0.5))
        return replace(objective, corrupt=replace(objective.corrupt, hide=hide))
    if isinstance(objective.corrupt, Mask):
        return replace(objective, corrupt=replace(objective.corrupt, replacement=Replacement(0.5, 0.5)))
    return objective


def signs(objective: Objective) -> frozenset[int]:
    """What is written and stands in no text: before each hidden span, and after the last."""
    spans = isinstance(objective.corrupt, Written) and objective.corrupt.noise == "spans"
    return frozenset({VOCABULARY.mask, VOCABULARY.sep} if spans else ())


def answer_place(sample: Sample, row: Row, at: int, label: int) -> int:
    """Where in the text the answer stands: all its tokens are different, special ones within a document, but for the
    [SEP] that parts a pair, which is never predicted."""
    own = (row.tokens == label) & (row.document == own_document(sample.layout.document[at], row))
    *_, place = np.flatnonzero(own if row.part is None or label != VOCABULARY.sep else own & (row.part > 0))
    return int(place)


def with_another_answer(row: Row, place: int) -> Row:
    """The row with another token in one place; special tokens give way to special ones, text to text."""
    tokens = row.tokens.copy()
    tokens[place] = VOCABULARY.size - 1 if row.tokens[place] >= FIRST_TEXT else min(VOCABULARY.reserved)
    return replace(row, tokens=tokens)


def check_no_leak(objective: Objective, row: Row, *, seed: int, progress: float) -> int:
    """Change an answer in the text and sample again with the same randomness: whoever must say it reaches the same
    tokens as before, in the same layout. Gives the number of answers checked.
    """
    sample = draw(objective, row, seed=seed, progress=progress)
    reach = reachable(objective.rule.matrix(sample.layout))
    checked = 0
    for target in sample.targets:
        for at, label in zip(target.at.tolist(), target.labels.tolist(), strict=True):
            if label in signs(objective):
                continue
            place = answer_place(sample, row, at, label)
            other = draw(objective, with_another_answer(row, place), seed=seed, progress=progress)
            seen = np.flatnonzero(reach[at])
            assert np.array_equal(other.tokens[seen], sample.tokens[seen]), (
                f"{objective.name}: place {at} must say what stands in place {place}, and can reach it"
            )
            assert np.array_equal(objective.rule.matrix(other.layout), objective.rule.matrix(sample.layout))
            checked += 1
    return checked
