"""docs/objectives.md says what is so: its commands are run, and its code too."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bothways.cli import app
from bothways.objectives import build
from tests.objectives.rows import VOCABULARY, packed


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "objectives.md").read_text(encoding="utf-8")


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)


def test_commands_print_what_the_page_shows(page: str) -> None:
    shown = blocks(page, "console")
    assert len(shown) >= 3
    for block in shown:
        command, _, printed = block.partition("\n")
        result = CliRunner().invoke(app, shlex.split(command)[2:], catch_exceptions=False)
        assert result.output == printed, command


def test_expressions_can_be_built(page: str) -> None:
    expressions = blocks(page, "text")[0].splitlines()
    assert len(expressions) >= 5
    for expression in expressions:
        build(expression, VOCABULARY).sample(packed([4]), np.random.default_rng(0), 0.0)
