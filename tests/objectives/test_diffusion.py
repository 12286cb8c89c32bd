"""Masked and block diffusion: the bound, the weights, and every noisy query against a forward of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Batch, Row, Sample
from bothways.errors import UsageError
from bothways.model import Model, ModelConfig
from bothways.model.losses import plain_loss
from bothways.objectives import Objective, build
from tests.objectives.explicit import alone, logits_of, small_model
from tests.objectives.rows import VOCABULARY, long_row, packed, rows


def drawn(objective: Objective, row: Row, seed: int) -> Sample:
    return objective.sample(row, np.random.default_rng(seed), 0.5)


@pytest.mark.parametrize("expression", ["diffusion", "block-diffusion(size=3)", "block-diffusion"])
@given(row=rows, seed=st.integers(0, 2**32))
def test_the_weights_of_a_row_sum_to_its_tokens(expression: str, row: Row, seed: int) -> None:
    """So the weighted mean is the bound a token, without noise: a model that says 1/V of every word gets log V."""
    (target,) = drawn(build(expression, VOCABULARY), row, seed).targets
    assert np.sum(target.weight) == pytest.approx(np.sum(row.following))


def test_every_number_of_hidden_tokens_is_equally_likely() -> None:
    """As when the rate is uniform; and no token is likelier than another."""
    row, objective = packed([8]), build("diffusion", VOCABULARY)  # and [SEP]
    counts, places = np.zeros(9), np.zeros(9)
    for seed in range(9000):
        (target,) = drawn(objective, row, seed).targets
        counts[len(target.at) - 1] += 1
        places[target.at - 1] += 1
    assert counts == pytest.approx(1000, abs=4.5 * np.sqrt(1000))
    assert places == pytest.approx(places.mean(), rel=0.05)


def test_in_expectation_it_is_the_loss_over_a_uniform_rate() -> None:
    """Any loss of what is hidden: hide each token with t ~ U(0, 1), weigh by 1/t (LLaDA, equation 3)."""
    row, objective = packed([5]), build("diffusion", VOCABULARY)  # and [SEP]
    worth = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])

    def loss(hidden: np.ndarray) -> float:
        """Depends on the place and on how much else is hidden, as a model's does."""
        return float((worth[hidden] * np.sqrt(len(hidden))).sum())

    rng, by_rate = np.random.default_rng(0), []
    for _ in range(60_000):
        t = 1e-3 + (1 - 1e-3) * rng.random()
        by_rate.append(loss(np.flatnonzero(rng.random(6) < t)) / t)
    by_number = []
    for seed in range(20_000):
        (target,) = drawn(objective, row, seed).targets
        by_number.append(loss(target.at - 1) * target.weight[0])
    error = np.hypot(np.std(by_rate) / np.sqrt(len(by_rate)), np.std(by_number) / np.sqrt(len(by_number)))
    assert abs(np.mean(by_rate) - np.mean(by_number)) < 4 * error
    assert np.std(by_number) < np.std(by_rate) / 2


def test_hidden_tokens_show_mask_and_nothing_else_changes() -> None:
    row = long_row(np.random.default_rng(0), length=64)
    for seed in range(20):
        sample = drawn(build("diffusion", VOCABULARY), row, seed)
        (target,) = sample.targets
        expected = row.tokens.copy()
        expected[target.at] = VOCABULARY.mask
        assert np.array_equal(sample.tokens, expected)


@pytest.mark.parametrize("size", [1, 3, 4, 64])
def test_a_noisy_query_equals_a_forward_over_the_clean_blocks_before_and_its_block(size: int) -> None:
    row, model = packed([8, 5], padding=2), small_model()
    objective = build(f"block-diffusion(size={size})", VOCABULARY)
    for seed in range(3):
        sample = drawn(objective, row, seed)
        whole, layout, length = logits_of(model, sample), sample.layout, len(row)
        for at in sample.targets[0].at.tolist():
            own = layout.document == layout.document[at]
            seen = own & (layout.group == 0) & (layout.step < layout.step[at])
            seen |= own & (layout.group == 1) & (layout.step == layout.step[at])
            found = alone(model, sample, np.flatnonzero(seen))
            expected = whole[at]
            assert np.abs(found[at] - expected).max() <= 2e-5 * np.abs(expected).max()
        clean = alone(model, sample, np.arange(length))
        assert np.abs(clean[:length] - whole[:length]).max() <= 2e-5 * np.abs(whole).max()


def test_one_block_is_masked_diffusion() -> None:
    row, model = packed([12]), small_model()
    sample = drawn(build("block-diffusion(size=64)", VOCABULARY), row, 3)
    noisy = Sample(
        sample.tokens[len(row) :], build("diffusion", VOCABULARY).sample(row, np.random.default_rng(3), 0.5).layout, ()
    )
    assert np.abs(logits_of(model, sample)[len(row) :] - logits_of(model, noisy)).max() < 1e-4


def test_blocks_of_one_token_are_the_causal_model_with_queries() -> None:
    """Every token is hidden alone and sees the text before it."""
    row, model = packed([7]), small_model()
    sample = drawn(build("block-diffusion(size=1)", VOCABULARY), row, 0)
    causal = build("causal", VOCABULARY).sample(row, np.random.default_rng(0), 0.0)
    assert np.array_equal(sample.targets[0].at - len(row), causal.targets[0].at + 1)
    assert np.abs(logits_of(model, sample)[: len(row)] - logits_of(model, causal)).max() < 1e-4


def test_a_size_that_is_none() -> None:
    for size in ("0", "0.5", "1.5"):
        with pytest.raises(UsageError, match="size is how many tokens a block has"):
            build(f"block-diffusion(size={size})", VOCABULARY)


def test_the_loss_of_a_uniform_model_is_the_logarithm_of_the_vocabulary() -> None:
    config = ModelConfig(vocabulary=VOCABULARY.size, layers=1, width=16, heads=2, inner=32, length=64)
    model = Model(config, seed=0)
    with torch.no_grad():
        model.table.zero_()
    for expression in ("diffusion", "block-diffusion(size=4)"):
        objective = build(expression, VOCABULARY)
        row = long_row(np.random.default_rng(1), length=64)
        batch = Batch.stack([drawn(objective, row, seed) for seed in range(4)])
        ((total, weight),) = plain_loss(model, batch).values()
        assert float((total / weight).detach()) == pytest.approx(np.log(VOCABULARY.size), rel=1e-5)
