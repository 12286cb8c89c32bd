"""Any order, BANG, MASS and ELMo: every query against a forward over what it may see, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Row, Sample
from bothways.errors import UsageError
from bothways.objectives import Objective, build
from bothways.objectives.mass import Fragment
from tests.objectives.explicit import alone, logits_of, small_model
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, packed, rows

ROW = packed([9, 6], padding=2)


def drawn(expression: str, row: Row, seed: int) -> tuple[Objective, Sample]:
    objective = build(expression, VOCABULARY)
    return objective, objective.sample(row, np.random.default_rng(seed), 0.0)


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("expression", ["any-order", "any-order(share=0.4)"])
def test_a_turn_equals_a_forward_over_the_words_of_earlier_turns_and_its_query(expression: str) -> None:
    model = small_model()
    for seed in range(3):
        objective, sample = drawn(expression, ROW, seed)
        whole, layout = logits_of(model, sample), sample.layout
        for at in sample.targets[0].at.tolist():
            known = (layout.document == layout.document[at]) & (layout.group == 0) & (layout.step < layout.step[at])
            assert close(alone(model, sample, np.append(np.flatnonzero(known), at), rule=objective.rule)[at], whole[at])


def test_in_the_order_of_the_text_the_content_is_a_causal_model() -> None:
    model, row = small_model(), packed([9])
    _, sample = drawn("any-order", row, 0)
    turns = sample.layout.position.copy()  # the identity, [CLS] first
    in_order = replace(sample, layout=replace(sample.layout, step=turns))
    _, causal = drawn("causal", row, 0)
    assert close(logits_of(model, in_order)[: len(row)], logits_of(model, causal))


@given(row=rows, seed=st.integers(0, 2**32))
def test_every_document_has_an_order_of_its_own(row: Row, seed: int) -> None:
    _, sample = drawn("any-order", row, seed)
    for document in set(row.document[row.document >= 0].tolist()):
        text = (row.document == document) & row.following
        turns = sample.layout.step[: len(row)][text]
        assert sorted(turns.tolist()) == list(range(1, text.sum() + 1))
    assert len(sample.targets[0].at) == np.sum(row.following)


@pytest.mark.parametrize("streams", [1, 2, 4])
def test_a_stream_equals_the_true_words_before_and_as_many_queries(streams: int) -> None:
    """Query (s, t): the source, y_1 .. y_{t-s}, then s [MASK]s, each of which sees those before it."""
    model = small_model()
    for seed in range(3):
        objective, sample = drawn(f"bang(streams={streams})", ROW, seed)
        whole, layout = logits_of(model, sample, rule=objective.rule), sample.layout
        position, step = layout.position, layout.step
        for at in sample.targets[0].at.tolist():
            own = layout.document == layout.document[at]
            known = own & (layout.group == 0) & (step < step[at])
            first = position[known].max() + 1
            queries = [
                int(np.flatnonzero(own & (layout.group == 1) & (step == step[at]) & (position == place))[0])
                for place in range(first, position[at] + 1)
            ]
            assert len(queries) <= streams and queries[-1] == at
            # as the definition has it: queries in a causal chain behind the words that are known, under another rule
            places = np.append(np.flatnonzero(known), queries)
            chain = np.append(step[known], step[at] + np.arange(len(queries)))
            part = Sample(
                sample.tokens[places],
                replace(
                    layout.map(lambda column, places=places: column[places]),
                    step=chain.astype(np.int32),
                    group=np.zeros(len(places), dtype=np.int32),
                ),
                (),
            )
            assert close(logits_of(model, part)[-1], whole[at])


def test_the_words_of_bang_are_read_as_a_prefix_model_reads_them() -> None:
    model = small_model()
    objective, sample = drawn("bang", ROW, 1)
    whole, text = logits_of(model, sample, rule=objective.rule), np.arange(len(ROW))
    assert close(alone(model, sample, text)[text], whole[text])


def test_one_stream_says_every_target_word_once_and_more_say_it_in_each() -> None:
    for streams in (1, 3):
        _, sample = drawn(f"bang(streams={streams})", packed([9]), 3)
        target = sample.layout.step[:11] > 0
        for place in np.flatnonzero(target):
            asked = np.sum(sample.layout.position[sample.targets[0].at] == place)
            assert asked == min(streams, sample.layout.step[place])


def test_a_fragment_equals_a_forward_over_the_text_around_it_and_the_words_before() -> None:
    """The true words before it, but not the hidden places: the source is read by itself first, masks and all."""
    model = small_model()
    for seed in range(4):
        _, sample = drawn("mass", ROW, seed)
        whole, layout = logits_of(model, sample), sample.layout
        text = np.arange(len(ROW))
        assert close(alone(model, sample, text)[text], whole[text])
        for at in sample.targets[0].at.tolist():
            own = layout.document == layout.document[at]
            earlier = np.flatnonzero(own & (layout.step > 0) & (layout.step <= layout.step[at]))
            assert close(alone(model, sample, np.concatenate([text, earlier]))[at], whole[at])


def test_the_decoder_never_sees_a_mask_and_reads_the_word_before_in_its_place() -> None:
    for seed in range(20):
        objective, sample = drawn("mass", ROW, seed)
        sees = objective.rule.matrix(sample.layout)
        decoder, masks = sample.targets[0].at, np.flatnonzero(sample.tokens == VOCABULARY.mask)
        assert not sees[np.ix_(decoder, masks)].any() and sees[np.ix_(masks, masks)].any()
        assert np.array_equal(ROW.tokens[masks], sample.targets[0].labels)
        assert np.array_equal(sample.tokens[decoder], ROW.tokens[masks - 1])
        assert np.array_equal(sample.layout.position[decoder] + 1, sample.layout.position[masks])


@given(row=rows, seed=st.integers(0, 2**32))
def test_a_fragment_is_one_run_of_half_of_the_document(row: Row, seed: int) -> None:
    hide = build("mass", VOCABULARY).corrupt
    assert isinstance(hide, Fragment)
    at = hide.fragments(row, np.random.default_rng(seed))
    for document in set(row.document[row.document >= 0].tolist()):
        tokens = np.sum((row.document == document) & (row.tokens >= FIRST_TEXT))
        own = at[row.document[at] == document]
        assert len(own) == (max(1, round(0.5 * tokens)) if tokens else 0)
        assert np.array_equal(own, own[0] + np.arange(len(own))) if len(own) else True


def test_fragments_are_often_at_an_end() -> None:
    row, hide = packed([20]), build("mass", VOCABULARY).corrupt
    first = np.array([hide.fragments(row, np.random.default_rng(seed))[0] for seed in range(4000)])
    assert np.mean(first == 1) == pytest.approx(0.2 + 0.6 / 11, abs=0.025)
    assert np.mean(first == 11) == pytest.approx(0.2 + 0.6 / 11, abs=0.025)


def test_a_changed_word_changes_only_what_comes_after_it_in_each_direction() -> None:
    model, row = small_model(), packed([9])
    _, sample = drawn("elmo", row, 0)
    changed = sample.tokens.copy()
    changed[[5, 5 + len(row)]] = 77
    before, after = logits_of(model, sample), logits_of(model, replace(sample, tokens=changed))
    differs = np.abs(before - after).max(1) > 0
    assert np.array_equal(np.flatnonzero(differs[: len(row)]), np.arange(5, len(row)))
    assert np.array_equal(np.flatnonzero(differs[len(row) :]), np.arange(6))


def test_each_direction_is_a_model_of_its_own_and_both_count_alike() -> None:
    model = small_model()
    _, sample = drawn("elmo", ROW, 0)
    whole = logits_of(model, sample)
    for name, half in (("causal", slice(0, len(ROW))), ("reversed", slice(len(ROW), None))):
        _, single = drawn(name, ROW, 0)
        assert close(logits_of(model, single), whole[half])
    forward, backward = sample.targets
    assert (forward.name, backward.name) == ("forward", "backward")
    _, causal = drawn("causal", ROW, 0)
    assert np.array_equal(forward.at, causal.targets[0].at) and np.array_equal(forward.labels, causal.targets[0].labels)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("any-order(share=0)", "share is how much of the order"),
        ("bang(streams=1.5)", "streams is how many words"),
        ("bang(streams=0)", "streams is how many words"),
        ("mass(rate=1.5)", "rate is the share of the text"),
    ],
)
def test_numbers_out_of_range(expression: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(expression, VOCABULARY)
