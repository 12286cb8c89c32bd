"""What is hidden: how much of the text, in which units, and behind what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Row
from bothways.errors import UsageError
from bothways.objectives.corruptions import (
    REPLACEMENTS,
    UNITS,
    Linear,
    Mask,
    Replacement,
    choose,
    cut,
    number,
    rate_at,
    split,
)
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, long_row, packed, rows


def words_of(row: Row) -> list[np.ndarray]:
    """The places of every word of text."""
    words: list[list[int]] = []
    for place, token in enumerate(row.tokens):
        if token < FIRST_TEXT:
            continue
        inside = not row.word_starts[place] and row.tokens[place - 1] >= FIRST_TEXT
        if inside:
            words[-1].append(place)
        else:
            words.append([place])
    return [np.array(word) for word in words]


def million(mask: Mask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Text, what is read, and what was chosen, of a million tokens of text in rows of 64 to 256."""
    generator = np.random.default_rng(2)
    kinds = [long_row(generator, length=length) for length in (64, 100, 128, 256)] * 2000
    drawn = [mask(row, generator, 0.0) for row in kinds]
    text = np.concatenate([corrupted.row.tokens for corrupted in drawn])
    assert (text >= FIRST_TEXT).sum() > 1_000_000
    return text, np.concatenate([c.tokens for c in drawn]), np.concatenate([c.chosen for c in drawn])


@pytest.mark.parametrize("units", UNITS)
def test_fifteen_per_cent_of_a_million_tokens_and_of_them_80_10_10(units: str) -> None:
    text, reads, chosen = million(Mask(VOCABULARY, UNITS[units]))
    eligible = text >= FIRST_TEXT
    assert not (chosen & ~eligible).any()
    assert np.array_equal(reads[~chosen], text[~chosen])
    assert chosen.sum() / eligible.sum() == pytest.approx(0.15, abs=0.001)
    masked, kept = reads[chosen] == VOCABULARY.mask, reads[chosen] == text[chosen]
    random = ~masked & ~kept
    assert (reads[chosen][random] >= FIRST_TEXT).all()
    assert (masked.mean(), random.mean(), kept.mean()) == pytest.approx((0.8, 0.1, 0.1), abs=0.005)


def test_words_of_every_length_are_chosen_alike() -> None:
    generator = np.random.default_rng(0)
    row = long_row(generator, length=128)
    mask = Mask(VOCABULARY, UNITS["whole"])
    share = np.mean([mask(row, generator, 0.0).chosen for _ in range(10_000)], axis=0)
    for length in range(1, 5):
        of_length = [word[0] for word in words_of(row) if len(word) == length]
        assert share[of_length].mean() == pytest.approx(0.15, abs=0.004)


@given(row=rows, seed=st.integers(0, 2**32), rate=st.floats(0.01, 1.0), units=st.sampled_from(["whole", "spans"]))
def test_whole_words_are_whole(row: Row, seed: int, rate: float, units: str) -> None:
    chosen = Mask(VOCABULARY, UNITS[units], rate)(row, np.random.default_rng(seed), 0.0).chosen
    for word in words_of(row):
        assert chosen[word].all() or not chosen[word].any()


def test_whole_words_are_whole_in_chinese() -> None:
    """Every character is a token; the segmenter's words are the units (Cui et al. 2019)."""
    words = ["我们", "喜欢", "在", "图书馆", "读", "有意思", "的", "小说"]
    starts = [i == 0 for word in words for i in range(len(word))]
    row = packed([len(starts)], starts=[True, *starts, True])
    seen = set()
    for seed in range(200):
        chosen = Mask(VOCABULARY, UNITS["whole"], 0.3)(row, np.random.default_rng(seed), 0.0).chosen[1:-1]
        text, hidden = iter(chosen), []
        for word in words:
            shown = {bool(next(text)) for _ in word}
            assert len(shown) == 1
            hidden += [word] * shown.pop()
        seen.update(hidden)
    assert seen == set(words)


@given(row=rows, seed=st.integers(0, 2**32), units=st.sampled_from(sorted(UNITS)))
def test_a_unit_is_contiguous_within_a_document_and_no_longer_than_its_law(row: Row, seed: int, units: str) -> None:
    eligible = np.flatnonzero(row.tokens >= FIRST_TEXT)
    unit = number(row, eligible, UNITS[units], np.random.default_rng(seed))
    assert len(unit) == len(eligible)
    for i in range(unit.max(initial=-1) + 1):
        places = eligible[unit == i]
        assert len(places) and (np.diff(places) == 1).all() and len(set(row.document[places])) == 1
        if not UNITS[units].words:
            assert len(places) <= len(UNITS[units].lengths)


@pytest.mark.parametrize(("units", "mean"), [("ngrams", 1.3), ("runs", 2.0), ("spans", 3.8)])
def test_the_lengths_of_units_follow_their_law(units: str, mean: float) -> None:
    """SpanBERT states the mean of its clipped geometric law: 3.8 words."""
    row = packed([20_000])
    eligible = np.arange(1, 20_001)
    sizes = np.bincount(number(row, eligible, UNITS[units], np.random.default_rng(0)))
    assert sizes.mean() == pytest.approx(mean, abs=0.06)
    law = np.array(UNITS[units].lengths)
    assert np.bincount(sizes, minlength=len(law) + 1)[1:] / len(sizes) == pytest.approx(law, abs=0.02)


def test_a_unit_of_spans_is_masked_or_kept_as_one() -> None:
    """SpanBERT (Joshi et al. 2020, section 3.1): the replacement is decided once a span."""
    row = packed([400])
    mask = Mask(VOCABULARY, UNITS["spans"], 0.15)
    for seed in range(50):
        corrupted = mask(row, np.random.default_rng(seed), 0.0)
        unit = number(row, np.arange(1, 401), UNITS["spans"], np.random.default_rng(seed))
        hidden = corrupted.tokens[1:401] == VOCABULARY.mask
        for i in np.unique(unit[corrupted.chosen[1:401]]):
            assert hidden[unit == i].all() or not hidden[unit == i].any()


@given(st.integers(1, 200), st.floats(0.001, 1.0), st.integers(0, 2**32))
def test_single_tokens_are_the_budget_rounded_up_or_down(count: int, rate: float, seed: int) -> None:
    chosen = int(choose(np.arange(count), rate, np.random.default_rng(seed)).sum())
    assert int(rate * count - 1e-9) <= chosen <= int(rate * count + 1e-9) + 1


def test_masking_is_dynamic_and_reproducible() -> None:
    row = long_row(np.random.default_rng(0), length=128)
    first, again, other = (Mask(VOCABULARY)(row, np.random.default_rng((0, epoch, 7)), 0.0) for epoch in (0, 0, 1))
    assert np.array_equal(first.tokens, again.tokens)
    assert not np.array_equal(first.chosen, other.chosen)


def test_the_rate_follows_its_schedule_and_an_answer_stands_for_one_over_the_rate() -> None:
    row = long_row(np.random.default_rng(0), length=256)
    mask = Mask(VOCABULARY, rate=Linear(0.3, 0.15))
    generator = np.random.default_rng(0)
    for progress, rate in ((0.0, 0.3), (0.5, 0.225), (1.0, 0.15)):
        drawn = [mask(row, generator, progress) for _ in range(300)]
        shares = [corrupted.chosen.sum() / (row.tokens >= FIRST_TEXT).sum() for corrupted in drawn]
        assert np.mean(shares) == pytest.approx(rate, abs=0.001)
        assert {corrupted.weight for corrupted in drawn} == {1 / rate_at(Linear(0.3, 0.15), progress)}


def test_all_mask_is_all_mask() -> None:
    row = long_row(np.random.default_rng(0), length=128)
    corrupted = Mask(VOCABULARY, replacement=REPLACEMENTS["all-mask"])(row, np.random.default_rng(0), 0.0)
    assert (corrupted.tokens[corrupted.chosen] == VOCABULARY.mask).all()


def test_a_row_without_text_is_left_alone() -> None:
    row = packed([0, 0], padding=3)
    for units in UNITS.values():
        assert not Mask(VOCABULARY, units)(row, np.random.default_rng(0), 0.0).chosen.any()


def test_the_row_itself_is_never_changed() -> None:
    row = long_row(np.random.default_rng(0), length=128)
    before = row.tokens.copy()
    Mask(VOCABULARY, rate=1.0)(row, np.random.default_rng(0), 0.0)
    assert np.array_equal(row.tokens, before)


@given(row=rows, seed=st.integers(0, 2**32))
def test_a_cut_leaves_a_source_and_a_target_in_every_document(row: Row, seed: int) -> None:
    part, weight = cut(row, np.random.default_rng(seed))
    assert weight == 2.0
    for document in set(row.document.tolist()):
        own = part[row.document == document]
        assert own[0] == 0 and (np.diff(own) >= 0).all()
        assert own[-1] == (len(own) > 1)


def test_the_cut_is_uniform_and_half_of_the_text_is_said() -> None:
    row = packed([8])
    generator = np.random.default_rng(0)
    sources = [int((split(row, generator, 0.0).part == 0).sum()) for _ in range(9000)]
    assert np.bincount(sources, minlength=10)[1:] / 9000 == pytest.approx(np.full(9, 1 / 9), abs=0.02)


@pytest.mark.parametrize("shares", [(0.8, 0.3), (-0.1, 0.5)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="at most 1 together"):
        Replacement(*shares)
