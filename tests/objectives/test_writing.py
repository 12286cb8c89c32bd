"""Objectives on pairs as models are fine-tuned to write: who sees whom, read off the layout."""

from __future__ import annotations

import numpy as np
import pytest

from bothways.errors import UsageError
from bothways.objectives import build
from tests.objectives.rows import PAIR, VOCABULARY, pair_row

PAIRS = pair_row([(2, 2), (1, 3)])


def sees(expression: str):
    """The row of PAIR (a b | d e f) as it is read, its steps and positions, and who sees whom."""
    objective = build(expression, VOCABULARY)
    sample = objective.sample(PAIR, np.random.default_rng(0), 0.0)
    return sample, objective.rule.matrix(sample.layout).astype(int).tolist()


def test_mass_feeds_its_decoder_with_the_end_of_the_source_first() -> None:
    sample, matrix = sees("mass(pairs=target)")
    assert sample.tokens.tolist() == [*PAIR.tokens.tolist(), VOCABULARY.sep]
    assert sample.layout.position.tolist() == [0, 1, 2, 3, 4, 5, 2]
    assert matrix[:3] == [[1, 1, 1, 0, 0, 0, 0]] * 3  # the source knows nothing of the target
    assert matrix[6] == [1, 1, 1, 0, 0, 0, 1]
    assert matrix[3:6] == [[1, 1, 1, 1, 0, 0, 1], [1, 1, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1]]
    (target,) = sample.targets
    assert np.asarray(target.at).tolist() == [6, 3, 4] and target.labels.tolist() == PAIR.tokens[3:].tolist()


def test_mass_finds_what_to_feed_in_every_pair_of_a_row() -> None:
    (target,) = build("mass(pairs=target)", VOCABULARY).sample(PAIRS, np.random.default_rng(0), 0.0).targets
    assert np.asarray(target.at).tolist() == [14, 4, 5, 15, 10, 11, 12]


def test_pseudo_masks_stand_for_the_words_of_a_target() -> None:
    sample, matrix = sees("unilm2(rate=1, pairs=target)")
    assert sample.tokens.tolist() == [*PAIR.tokens.tolist(), *[VOCABULARY.mask] * 3]
    assert sample.layout.position.tolist() == [*range(6), 3, 4, 5]
    assert matrix[3:6] == [[1, 1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0, 0]]
    assert matrix[6:] == [[1, 1, 1, 0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 0, 0, 0, 1]]


def test_a_share_of_the_pseudo_masks_is_drawn_its_end_among_them() -> None:
    objective, labels = build("unilm2(rate=0.5, pairs=target)", VOCABULARY), []
    for seed in range(50):
        (target,) = objective.sample(PAIRS, np.random.default_rng(seed), 0.0).targets
        labels += target.labels.tolist()
        assert set(np.asarray(target.weight).ravel().tolist()) == {2.0}
    assert VOCABULARY.sep in labels and len(labels) == pytest.approx(50 * 7 / 2, rel=0.1)


def test_bang_at_once_knows_no_word_of_the_target() -> None:
    sample, matrix = sees("bang(streams=1, together=1)")
    assert sample.tokens.tolist() == [*PAIR.tokens.tolist(), *[VOCABULARY.mask] * 3]
    assert matrix[6:] == [[1, 1, 1, 0, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 1, 1, 1]]


def test_bang_draws_how_a_row_is_read() -> None:
    objective = build("bang(streams=2, together=0.5)", VOCABULARY)
    lengths = [len(objective.sample(PAIR, np.random.default_rng(seed), 0.0)) for seed in range(40)]
    assert {*lengths} == {6 + 3, 6 + 3 + 2} and 10 < lengths.count(9) < 30


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("mass(pairs=text)", "unknown value of pairs 'text'.*fragment, target"),
        ("unilm2(pairs=all)", "unknown value of pairs 'all'.*target, text"),
        ("bang(together=2)", "together is the share of rows that are predicted at once, 0 to 1, got 2"),
    ],
)
def test_what_there_is_not(expression: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(expression, VOCABULARY)
