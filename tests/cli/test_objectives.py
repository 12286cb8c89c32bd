"""The commands about objectives."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bothways.cli import app
from bothways.errors import UsageError
from bothways.objectives import OBJECTIVES
from tests.cli.conftest import Invoke


def test_all_are_listed(invoke: Invoke) -> None:
    told = json.loads(invoke("objectives", "--json").stdout)
    assert [record["name"] for record in told] == list(OBJECTIVES)
    assert all(record["paper"] and record["needs"] for record in told)
    shown = invoke("objectives").stdout
    assert all(name in shown for name in OBJECTIVES)


@pytest.mark.parametrize("expression", [*OBJECTIVES, "1/2 causal + 1/2 mlm(rate=0.3, words=whole)"])
def test_each_is_shown(expression: str, invoke: Invoke) -> None:
    shown = invoke("show-objective", expression, "a b c d e f").stdout
    assert shown.startswith(expression)
    assert "■" in shown


def test_a_seed_shows_the_same_draw_again(invoke: Invoke) -> None:
    first, second = (invoke("show-objective", "mlm", "a b c d", "--seed", 3).stdout for _ in range(2))
    assert first == second


def test_an_unknown_objective_is_refused_with_those_known(invoke: Invoke) -> None:
    with pytest.raises(UsageError, match="Did you mean 'mlm'"):
        invoke("show-objective", "mlmm", "a b")


@given(st.text(max_size=30) | st.from_regex(r"[a-z0-9/+*(),=> .-]{1,40}", fullmatch=True), st.text(max_size=20))
def test_no_expression_brings_it_down(expression: str, text: str) -> None:
    result = CliRunner().invoke(app, ["show-objective", "--", expression, text])
    assert result.exit_code == 0 or isinstance(result.exception, UsageError | SystemExit)
