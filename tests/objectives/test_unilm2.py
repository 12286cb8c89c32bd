"""UniLM v2: both predictions of one pass against forwards of their own; blocks of the lengths and the share asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Row, Sample
from bothways.objectives import build
from tests.objectives.explicit import alone, logits_of, small_model
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, long_row, packed, rows


def drawn(row: Row, seed: int, rate: float = 0.15) -> Sample:
    return build(f"unilm2(rate={rate})", VOCABULARY).sample(row, np.random.default_rng(seed), 0.0)


def parts(row: Row, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of the row, of the hidden tokens behind it, and of their pseudo masks."""
    count = (len(sample.tokens) - len(row)) // 2
    behind = len(row) + np.arange(count)
    return np.arange(len(row)), behind, behind + count


def test_a_pseudo_mask_equals_a_forward_over_context_earlier_blocks_and_its_own() -> None:
    row, model = packed([14, 9], padding=2), small_model()
    for seed in range(4):
        sample = drawn(row, seed, rate=0.4)
        text, hidden, pseudo = parts(row, sample)
        whole, step = logits_of(model, sample), sample.layout.step
        assert len(set(step[hidden].tolist())) > 1
        for at in pseudo.tolist():
            earlier = hidden[step[hidden] < step[at]]
            own = pseudo[step[pseudo] == step[at]]
            found = alone(model, sample, np.concatenate([text, earlier, own]))[at]
            assert np.abs(found - whole[at]).max() <= 2e-5 * np.abs(whole[at]).max()


def test_the_masked_half_is_a_plain_masked_language_model() -> None:
    row, model = packed([14, 9], padding=2), small_model()
    sample = drawn(row, 0, rate=0.3)
    whole, plain = logits_of(model, sample), alone(model, sample, np.arange(len(row)))
    assert np.abs(plain[: len(row)] - whole[: len(row)]).max() <= 2e-5 * np.abs(whole).max()


@given(row=rows, seed=st.integers(0, 2**32))
def test_each_hidden_word_is_said_twice(row: Row, seed: int) -> None:
    sample = drawn(row, seed, rate=0.5)
    _, hidden, pseudo = parts(row, sample)
    masked, again = sample.targets
    assert (masked.name, again.name) == ("masked", "pseudo-masked")
    assert np.array_equal(masked.labels, again.labels) and np.array_equal(again.at, pseudo)
    assert np.array_equal(sample.tokens[hidden], masked.labels)
    assert (sample.tokens[masked.at] == VOCABULARY.mask).all() and (sample.tokens[pseudo] == VOCABULARY.mask).all()
    for copy in (hidden, pseudo):
        assert np.array_equal(sample.layout.position[copy], sample.layout.position[masked.at])


def test_the_share_and_the_lengths_of_blocks() -> None:
    """15 % of the text; a block is one token six times in ten, else 2 to 6 in equal shares."""
    row = long_row(np.random.default_rng(0), length=4096, documents=1)
    lengths, share = np.zeros(7), []
    for seed in range(40):
        sample = drawn(row, seed)
        _, hidden, _ = parts(row, sample)
        share.append(len(hidden) / np.sum(row.tokens >= FIRST_TEXT))
        blocks = np.unique(sample.layout.step[hidden], return_counts=True)[1]
        lengths += np.bincount(blocks, minlength=7)[:7]
    assert np.mean(share) == pytest.approx(0.15, abs=0.001)
    assert lengths[1:] / lengths.sum() == pytest.approx([0.6, 0.08, 0.08, 0.08, 0.08, 0.08], abs=0.02)


def test_the_order_of_blocks_is_random() -> None:
    row = packed([40])
    firsts = {int(drawn(row, seed, rate=0.5).layout.step[len(row)]) for seed in range(60)}
    assert len(firsts) > 5
