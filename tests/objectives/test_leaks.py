"""The leak test on every objective: by transitive closure, and in the model by changing a hidden word."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Batch, Row, Sample
from bothways.model import Model, ModelConfig
from bothways.objectives import OBJECTIVES, Objective, build
from bothways.objectives.arrangements import left_to_right, together
from bothways.objectives.objective import TARGET
from bothways.objectives.predictions import in_place
from bothways.visibility import reachable
from tests.objectives.leaks import answer_place, check_no_leak, draw, signs, with_another_answer, without_keeping
from tests.objectives.rows import PAIR_ROWS, VOCABULARY, packed, pair_row, rows

EXPRESSIONS = [
    *(name for name in OBJECTIVES if name not in ("codebert", "seq2seq")),
    *("seq2seq(noise=spans)", "seq2seq(noise=mass)"),  # infill writes what it is shown, too
    "mlm(words=spans, rate=0.4)",
    "mlm(words=whole)",
    "1/2 prefix + 1/2 hybrid(words=runs)",
]
ROW = packed([4, 5, 2], padding=2, starts=[True, False, True, True])
OF_PAIRS = pair_row([(3, 4), (2, 5)], padding=2)
WRITING = [name for name in OBJECTIVES if build(name, VOCABULARY).about.pairs == TARGET]
"""Those that predict the target of a pair after its source."""
CASES = [*((expression, ROW) for expression in EXPRESSIONS), *((expression, OF_PAIRS) for expression in WRITING)]
NAMED = [f"{expression}-{'pairs' if row is OF_PAIRS else 'texts'}" for expression, row in CASES]


def leaves(expression: str) -> list[Objective]:
    return [leaf for leaf, _ in without_keeping(build(expression, VOCABULARY)).leaves()]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@given(row=rows, seed=st.integers(0, 2**32), progress=st.floats(0, 1))
def test_no_place_reaches_its_answer(expression: str, row: Row, seed: int, progress: float) -> None:
    check_no_leak(without_keeping(build(expression, VOCABULARY)), row, seed=seed, progress=progress)


AS_FINE_TUNED = ["mass(pairs=target)", "unilm2(rate=0.5, pairs=target)", "bang(streams=1, together=1)"]


@pytest.mark.parametrize("expression", [*WRITING, *AS_FINE_TUNED, "block-diffusion(size=3)", "bang(streams=2)"])
@given(row=PAIR_ROWS, seed=st.integers(0, 2**32), progress=st.floats(0, 1))
def test_of_pairs_the_target_alone_is_predicted_and_no_place_reaches_its_answer(
    expression: str, row: Row, seed: int, progress: float
) -> None:
    sample = draw(build(expression, VOCABULARY), row, seed=seed, progress=progress)
    for target in sample.targets:
        for at, label in zip(target.at.tolist(), target.labels.tolist(), strict=True):
            assert row.part[answer_place(sample, row, at, label)] == 1
    leaf = next(leaf for leaf in leaves(expression) if leaf.name == sample.targets[0].name)
    check_no_leak(leaf, row, seed=seed, progress=progress)


WHOLE = [
    *("causal", "prefix", "any-order", "bang(streams=1)", "mass", "unilm1(rate=1)", "seq2seq"),
    *("mass(pairs=target)", "unilm2(rate=1, pairs=target)", "bang(streams=1, together=1)"),
]


@pytest.mark.parametrize("expression", WHOLE)
def test_of_pairs_the_whole_target_is_predicted(expression: str) -> None:
    """By mass without the [SEP] that ends it: it writes as many tokens as it is given places."""
    (target,) = draw(build(expression, VOCABULARY), OF_PAIRS, seed=0, progress=0.0).targets
    wanted = OF_PAIRS.tokens[(OF_PAIRS.part == 1) & ((OF_PAIRS.tokens != VOCABULARY.sep) | (expression != "mass"))]
    assert target.labels.tolist() == wanted.tolist()
    assert np.all(np.asarray(target.weight) == 1)


def test_objectives_that_predict_targets() -> None:
    assert "causal prefix unilm1 diffusion block-diffusion mass any-order bang seq2seq".split() == WRITING


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_check_has_something_to_check(expression: str) -> None:
    for leaf in leaves(expression):
        assert sum(check_no_leak(leaf, ROW, seed=seed, progress=0.0) for seed in range(10)) >= 5


def test_a_leak_is_found() -> None:
    """What the eye would pass: the next word, read from all sides; and one's own word, unhidden."""
    causal = build("causal", VOCABULARY)
    for leaky in (replace(causal, arrange=together), replace(causal, arrange=left_to_right, predict=in_place)):
        with pytest.raises(AssertionError, match="can reach it"):
            check_no_leak(leaky, ROW, seed=0, progress=0.0)


def test_kept_words_are_shown_by_design() -> None:
    """The reason for `without_keeping`: as the paper has it, one chosen word in ten stands in clear."""
    with pytest.raises(AssertionError, match="can reach it"):
        for seed in range(100):
            check_no_leak(build("mlm", VOCABULARY), ROW, seed=seed, progress=0.0)


@cache
def model(kind: str) -> Model:
    size = VOCABULARY.size
    extra: dict[str, Any] = {
        "modern": {},
        "classic": {"segments": 6, "shape": "classic"},
        "two-sided": {"decoder": {"layers": 2}},
    }[kind]
    config = ModelConfig(vocabulary=size, layers=3, width=16, heads=2, inner=32, length=32, init=0.3, **extra)
    return Model(config, seed=1).eval()


MODELS = [
    pytest.param(kind, expression, row, id=f"{kind}-{name}")
    for kind in ("modern", "classic", "two-sided")
    for (expression, row), name in zip(CASES, NAMED, strict=True)
    if (kind == "two-sided") == expression.startswith("seq2seq")
]
"""A decoder is for seq2seq alone."""


@torch.no_grad()
def states(model: Model, samples: list[Sample], objective: Objective) -> torch.Tensor:
    """[B, S] of all tokens; of samples with two sides, those of the encoder and behind them those of the decoder."""
    model.rule = objective.rule
    batch = Batch.stack(samples)
    if batch.source is None:
        return model.states(batch)
    encoded = model.states(Batch(batch.source.tokens, batch.source.layout, ()))
    return torch.cat([encoded, model.states(batch)], 1)


@pytest.mark.parametrize(("kind", "expression", "row"), MODELS)
def test_a_changed_answer_changes_nothing_where_it_must_be_said(kind: str, expression: str, row: Row) -> None:
    for leaf in leaves(expression):
        drawn = ((seed, draw(leaf, row, seed=seed, progress=0.0)) for seed in range(100))
        seed, sample = next((seed, sample) for seed, sample in drawn if len(sample.targets[0].at) > 1)
        asked = [
            (at, label)
            for at, label in zip(sample.targets[0].at.tolist(), sample.targets[0].labels.tolist(), strict=True)
            if label not in signs(leaf)
        ]
        changed = [
            draw(leaf, with_another_answer(row, answer_place(sample, row, at, label)), seed=seed, progress=0.0)
            for at, label in asked
        ]
        before, after = states(model(kind), [sample] * len(asked), leaf), states(model(kind), changed, leaf)
        for i, (at, _) in enumerate(asked):
            assert (before[i, at] - after[i, at]).abs().max() == 0.0


@pytest.mark.parametrize(("kind", "expression", "row"), MODELS)
def test_a_place_depends_on_what_it_sees_and_on_nothing_that_it_cannot_reach(
    kind: str, expression: str, row: Row
) -> None:
    """Every input token is changed in turn: out of reach the state is the same to the last bit, in sight it is not."""
    for leaf in leaves(expression):
        sample = draw(leaf, row, seed=4, progress=0.0)
        sees = leaf.rule.matrix(sample.layout)
        places = range(len(sample.tokens))
        changed = [replace(sample, tokens=np.where(np.arange(len(places)) == k, 777, sample.tokens)) for k in places]
        before, after = states(model(kind), [sample] * len(places), leaf), states(model(kind), changed, leaf)
        moved = (before - after).abs().amax(-1).T.numpy()  # [Q, K]
        assert (moved[~reachable(sees)] == 0.0).all()
        assert (moved[sees] > 0.0).all()
