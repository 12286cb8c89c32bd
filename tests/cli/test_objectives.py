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


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.output


def test_all_are_listed() -> None:
    told = json.loads(invoke("objectives", "--json"))
    assert [record["name"] for record in told] == list(OBJECTIVES)
    assert all(record["paper"] and record["needs"] for record in told)
    shown = invoke("objectives")
    assert all(name in shown for name in OBJECTIVES)


@pytest.mark.parametrize("expression", [*OBJECTIVES, "1/2 causal + 1/2 mlm(rate=0.3, words=whole)"])
def test_each_is_shown(expression: str) -> None:
    shown = invoke("show-objective", expression, "a b c d e f")
    assert shown.startswith(expression)
    assert "■" in shown


def test_a_seed_shows_the_same_draw_again() -> None:
    assert invoke("show-objective", "mlm", "a b c d", "--seed", "3") == invoke(
        "show-objective", "mlm", "a b c d", "--seed", "3"
    )


def test_an_unknown_objective_is_refused_with_those_known() -> None:
    with pytest.raises(UsageError, match="Did you mean 'mlm'"):
        CliRunner().invoke(app, ["show-objective", "mlmm", "a b"], catch_exceptions=False)


@given(st.text(max_size=30) | st.from_regex(r"[a-z0-9/+*(),=> .-]{1,40}", fullmatch=True), st.text(max_size=20))
def test_no_expression_brings_it_down(expression: str, text: str) -> None:
    result = CliRunner().invoke(app, ["show-objective", "--", expression, text])
    assert result.exit_code == 0 or isinstance(result.exception, UsageError | SystemExit)
