"""What is drawn between two tokens has the probability that the formula gives, and knows one language only."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bothways.corpus.bidirectional_ngrams import BidirectionalNGram, Statistics
from bothways.corpus.ngrams import discounts
from tests.corpus.test_packing import mixed
from tests.corpus.test_rows import VOCABULARY

SIZE = 12
DRAWS = 60_000


@pytest.fixture(scope="module")
def text() -> np.ndarray:
    """Tokens 5 to 11, some after some more often."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(3000) < 0.5, 5 + np.arange(3000) % 4, rng.integers(5, SIZE, 3000))


def by_hand(text: np.ndarray, left: int, right: int) -> np.ndarray:
    """p(x | left, right) [SIZE] with loops, from the formula in the module."""
    centre = range(1, len(text) - 1)

    def level(key: object, keys: list[object], lower: np.ndarray) -> np.ndarray:
        counts = Counter((keys[i - 1], int(text[i])) for i in centre)
        less = discounts(np.array(list(counts.values())))
        own = {x: count for (context, x), count in counts.items() if context == key}
        if not own:
            return lower
        total = sum(own.values())
        share = np.array([(own[x] - less[min(own[x], 3)]) / total if x in own else 0.0 for x in range(SIZE)])
        return share + (1 - share.sum()) * lower

    alone = np.bincount(text[1:-1], minlength=SIZE) / len(centre)
    before = level(left, [int(text[i - 1]) for i in centre], alone)
    behind = level(right, [int(text[i + 1]) for i in centre], alone)
    both = [(int(text[i - 1]), int(text[i + 1])) for i in centre]
    return level((left, right), both, (before + behind) / 2)


@pytest.mark.parametrize(("left", "right"), [(5, 7), (11, 5), (9, 4), (3, 4)])
def test_draws_follow_the_formula(text: np.ndarray, left: int, right: int) -> None:
    """4 never stands in the text, nor 3: then one side speaks, or none."""
    model = BidirectionalNGram.count(text[:-2], text[1:-1], text[2:], SIZE)
    drawn = model.draw(np.full(DRAWS, left), np.full(DRAWS, right), np.random.default_rng(1))
    share = np.bincount(drawn, minlength=SIZE) / DRAWS
    wanted = by_hand(text, left, right)
    assert wanted.sum() == pytest.approx(1)
    assert np.abs(share - wanted).max() < 4 * np.sqrt(0.25 / DRAWS)


def test_a_model_is_counted_for_every_language_from_its_own_text() -> None:
    stream = mixed([(40, 50), (60, None), (30, 20)])
    models = Statistics(stream, VOCABULARY).fillers()
    assert set(models) == {0, 1, 2}
    language = stream.table.languages(np.arange(stream.token_count))
    rng = np.random.default_rng(0)
    for number, model in models.items():
        own = set(stream.all[(language == number) & (stream.all > 4)].tolist())
        drawn = model.draw(rng.integers(0, 200, 3000), rng.integers(0, 200, 3000), rng)
        assert set(drawn.tolist()) <= own
        assert len(set(drawn.tolist())) > len(own) * 0.9


def test_a_token_between_two_known_ones_is_mostly_the_known_one() -> None:
    stream = mixed([(30, 30)] * 3)
    model = Statistics(stream, VOCABULARY).fillers()[0]
    drawn = model.draw(np.full(1000, 9), np.full(1000, 11), np.random.default_rng(0))
    assert (drawn == 10).mean() > 0.4  # once seen: half of it is discounted


def test_counts_are_those_of_the_stream_or_of_blocks_spread_over_it() -> None:
    stream = mixed([(300, None), (300, None)])
    counts = Statistics(stream, VOCABULARY).counts()
    assert np.array_equal(counts, np.bincount(stream.all, minlength=VOCABULARY.size))
    some = Statistics(stream, VOCABULARY, at_most=100).counts()
    assert some.sum() == 100


def test_without_languages_there_are_no_models() -> None:
    stream = mixed([(30, None)])
    stream.table = None
    assert Statistics(stream, VOCABULARY).fillers() == {}
