"""One objective after another: the phase is a function of progress alone, and rates run within their phase."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bothways.errors import UsageError
from bothways.objectives import build, schedule
from bothways.visibility import ordered, within
from tests.objectives.rows import VOCABULARY, long_row

ROW = long_row(np.random.default_rng(0), length=256)


def drawn(expression: str, progress: float) -> tuple[str, int]:
    """The name of a row's loss, and how much is said."""
    (target,) = build(expression, VOCABULARY).sample(ROW, np.random.default_rng(1), progress).targets
    return target.name, len(target.at)


def test_each_phase_has_its_share_of_the_steps() -> None:
    expression = "1/4 causal -> 1/2 mlm -> 1/4 reversed"
    names = [drawn(expression, step / 1000)[0] for step in range(1000)]
    assert names == ["causal"] * 250 + ["mlm"] * 500 + ["reversed"] * 250
    assert drawn(expression, 1.0)[0] == "reversed"
    assert build(expression, VOCABULARY).shares == {"causal": 0.25, "mlm": 0.5, "reversed": 0.25}


def test_a_phase_draws_what_its_objective_would() -> None:
    for progress, alone in ((0.1, "causal"), (0.9, "1/2 causal + 1/2 mlm")):
        for seed in range(20):
            ours, theirs = (
                build(expression, VOCABULARY).sample(ROW, np.random.default_rng(seed), progress)
                for expression in ("causal -> 1/2 causal + 1/2 mlm", alone)
            )
            assert np.array_equal(ours.tokens, theirs.tokens)
            assert np.array_equal(ours.targets[0].at, theirs.targets[0].at)


def test_a_rate_runs_from_the_start_of_its_phase_to_its_end() -> None:
    expression = "causal -> mlm(rate=0.4->0.2)"
    tokens = drawn("mlm(rate=1)", 0.0)[1]
    said = [drawn(expression, progress)[1] / tokens for progress in (0.5, 0.75, 1.0)]
    assert said == pytest.approx([0.4, 0.3, 0.2], abs=1 / tokens)


def test_the_model_is_what_the_last_phase_teaches() -> None:
    about = build("causal -> mlm", VOCABULARY).about
    assert about.teaches.faces == ("encoder",) and about.teaches.hidden == "in place"
    assert build("mlm -> causal", VOCABULARY).abilities.faces == ("decoder",)
    assert "GPT" in about.paper and "BERT" in about.paper
    assert build("tlm -> mlm", VOCABULARY).about.requires == {"pairs", "languages"}


def test_phases_may_have_different_losses_and_networks() -> None:
    """mlm -> electra: all networks are there from the start, and what is saved is what electra saves."""
    electra, both = (build(expression, VOCABULARY) for expression in ("electra", "1/4 mlm -> 3/4 electra"))
    assert both.heads == electra.heads and both.parts.keys() == electra.parts.keys()
    assert both.abilities.decoding == electra.abilities.decoding == {"detect": 0} and both.networks is not None
    assert both.shares == {"mlm": 0.25, "generator": 0.75, "discriminator": 0.75}
    assert [(end, phase.name) for end, phase in both.stages] == [(0.25, "mlm"), (1.0, "electra")]
    assert build("causal -> mlm", VOCABULARY).loss is None
    assert build("mlm", VOCABULARY).stages[0][0] == 1.0


def test_two_phases_of_one_name_are_told_apart() -> None:
    assert set(build("mlm(rate=0.4) -> causal -> mlm", VOCABULARY).shares) == {"mlm(rate=0.4)", "causal", "mlm"}


def test_phases_that_cannot_follow_each_other_are_refused() -> None:
    causal, mlm = build("causal", VOCABULARY), build("mlm", VOCABULARY)
    with pytest.raises(UsageError, match="one rule of visibility"):
        schedule([(causal, 1), (replace(mlm, rule=ordered & within(8)), 1)], name="both")
    with pytest.raises(UsageError, match="shares above 0"):
        schedule([(causal, 1), (mlm, 0)], name="both")
