"""Mixtures: an objective drawn for every row, each row counting alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bothways.batch import Batch, Losses
from bothways.errors import UsageError
from bothways.model import Model, ModelConfig
from bothways.objectives import build, mixture
from bothways.objectives.corruptions import nothing
from bothways.objectives.predictions import in_place
from bothways.visibility import Layout, ordered, within
from tests.objectives.rows import SIX, VOCABULARY, long_row

ROW = long_row(np.random.default_rng(0), length=128)


def drawn(expression: str, rows: int) -> Iterator[tuple[str, float]]:
    """The name of every row's first loss, and the sum of the weights of all."""
    objective = build(expression, VOCABULARY)
    for i in range(rows):
        targets = objective.sample(ROW, np.random.default_rng((1, 0, i)), 0.0).targets
        weights = [float(np.broadcast_to(target.weight, len(target.at)).sum()) for target in targets]
        yield targets[0].name, sum(weights)


def test_members_are_drawn_by_weight() -> None:
    counts = Counter(name for name, _ in drawn("3 causal + reversed", 2000))
    assert counts["causal"] / 2000 == pytest.approx(0.75, abs=0.03)
    assert set(counts) == {"causal", "reversed"}


def test_unilm_draws_its_four_ways() -> None:
    """1/3, 1/3, 1/6, 1/6: of 2400 rows about 800, 800, 400, 400."""
    counts = Counter(name for name, _ in drawn("unilm1", 2400))
    for name, expected in {"bidirectional": 800, "seq2seq": 800, "left-to-right": 400, "right-to-left": 400}.items():
        assert counts[name] == pytest.approx(expected, abs=60)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=2))
def test_weights_are_normalised(weights: list[int]) -> None:
    one, two = weights
    shares = build(f"{one} causal + {two}/1 mlm", VOCABULARY).shares
    assert shares == pytest.approx({"causal": one / (one + two), "mlm": two / (one + two)})


def test_mixtures_of_mixtures_share_out() -> None:
    assert build("1/2 hybrid(causal=1/4) + 1/2 causal", VOCABULARY).shares == pytest.approx(
        {"causal": 0.625, "mlm": 0.375}
    )


def test_two_settings_of_one_objective_are_reported_apart() -> None:
    assert build("mlm + mlm(rate=0.3)", VOCABULARY).shares == {"mlm": 0.5, "mlm(rate=0.3)": 0.5}


@pytest.mark.parametrize(
    "expression",
    [
        *("causal", "mlm", "mlm(rate=0.4, words=whole)", "prefix", "unilm1", "gpt-bert"),
        *("unilm2", "unilm2(pairs=target)", "elmo", "bang"),
    ],
)
def test_a_row_counts_alike_however_few_targets_it_has(expression: str) -> None:
    """The weights of a row's targets sum to its tokens, on average: no objective drowns another."""
    weights = [weight for _, weight in drawn(expression, 500)]
    assert np.mean(weights) == pytest.approx(len(ROW), rel=0.06)


def test_the_weight_of_an_answer_can_be_set() -> None:
    (target,) = build("mlm(weight=1)", VOCABULARY).sample(ROW, np.random.default_rng(0), 0.0).targets
    assert target.weight == 1.0


@pytest.mark.parametrize("weight", [2, 2.0, np.float32(2), np.full(6, 2.0)])
def test_a_weight_is_any_number_or_one_a_token(weight: Any) -> None:
    corrupted = replace(nothing(SIX, np.random.default_rng(0), 0.0), weight=weight)
    (target,) = in_place(corrupted, Layout.of(document=SIX.document, step=[0] * 6))
    assert np.array_equal(np.broadcast_to(target.weight, 6), [2.0] * 6)


def test_rows_of_different_objectives_share_a_batch() -> None:
    objective = build("hybrid", VOCABULARY)
    batch = Batch.stack([objective.sample(ROW, np.random.default_rng(i), 0.0) for i in range(12)])
    assert batch.tokens.shape == (12, 128)
    assert {target.name for target in batch.targets} == {"causal", "mlm"}


def loss(model: Model, batch: Batch, generator: torch.Generator) -> Losses:
    return {}


def network(config: ModelConfig) -> nn.Module:
    return nn.Identity()


def another(config: ModelConfig) -> nn.Module:
    return nn.Identity()


def test_members_that_cannot_share_a_batch_are_refused_by_name() -> None:
    causal, mlm = build("causal", VOCABULARY), build("mlm", VOCABULARY)
    local = replace(mlm, name="local", rule=ordered & within(8))
    with pytest.raises(UsageError, match=r"'causal' has ordered and 'local' has \(ordered & within\(8\)\)"):
        mixture({causal: 1, local: 1}, name="both")
    with pytest.raises(UsageError, match="'causal' and 'other' bring different ones"):
        mixture({causal: 1, replace(mlm, name="other", loss=loss): 1}, name="both")
    with pytest.raises(UsageError, match="different networks under the name 'helper'"):
        parts = {"helper": network}, {"helper": another}
        mixture({replace(causal, parts=parts[0]): 1, replace(mlm, parts=parts[1]): 1}, name="both")
    with pytest.raises(UsageError, match="weights above 0"):
        mixture({causal: 1, mlm: 0}, name="both")
    with pytest.raises(UsageError, match="weights above 0"):
        mixture({}, name="none")


def test_networks_of_all_members_are_there() -> None:
    causal, mlm = build("causal", VOCABULARY), build("mlm", VOCABULARY)
    both = mixture({replace(causal, heads={"a": network}): 1, replace(mlm, parts={"b": network}): 1}, name="both")
    assert both.heads == {"a": network} and both.parts == {"b": network}


@pytest.mark.parametrize(
    ("expression", "faces", "hidden"),
    [
        ("causal", ("decoder",), None),
        ("reversed", (), None),
        ("mlm", ("encoder",), "in place"),
        ("unilm1", ("encoder",), "in place"),
        ("hybrid", ("encoder", "decoder"), "in place"),
        ("gpt-bert", ("decoder",), "before"),
        ("1/2 causal + 1/2 mlm", ("encoder", "decoder"), "in place"),
        ("1/2 causal + 1/2 gpt-bert", ("decoder",), "before"),
        ("1/2 causal + 1/2 reversed", ("decoder",), None),
    ],
)
def test_what_a_model_can_be_asked(expression: str, faces: tuple[str, ...], hidden: str | None) -> None:
    """The faces it is saved with, and where it predicts a hidden word."""
    abilities = build(expression, VOCABULARY).abilities
    assert abilities.faces == faces and abilities.hidden == hidden
