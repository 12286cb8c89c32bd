"""Every recipe is a configuration that pretrain takes, and says what it is good for, what it reached, and how."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from bothways.config import load_config, read
from bothways.errors import UsageError
from bothways.training.pretraining import PretrainConfig, pretrain
from bothways.training.pretraining.dry_run import estimate_run
from tests.conftest import Once
from tests.pages import commands
from tests.training.pretraining.small import configuration, make_shards

RECIPES = sorted((Path(__file__).resolve().parent.parent / "recipes").glob("*.py"))
LITTLE: dict[str, Any] = {"length": 32, "step_tokens": 128, "micro_tokens": 128, "validation_rows": 4}
"""Of a rehearsal that takes a second; all else is the recipe's."""


@pytest.fixture(scope="module")
def shards(once: Once) -> Path:
    return once("shards", lambda folder: make_shards(folder, documents=120))


@pytest.fixture(scope="module")
def published(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """In place of a published model: a folder that transformers would load too."""
    run = pretrain(configuration(shards, tmp_path_factory.mktemp("published") / "run", objective="mlm"))
    return str(run / "encoder")


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_dry_run_accepts_it(file: Path, shards: Path, published: str, tmp_path: Path) -> None:
    values = load_config(file)
    assert not {"shards", "out"} & values.keys()
    whole = read(PretrainConfig, {**values, "shards": shards, "out": tmp_path / "run"})
    assert whole.training.rows > 0 and whole.training.budget.seconds
    whole.training.check_split(2)
    own = (
        {"model": {"layers": 1, "width": 32, "heads": 2, "inner": 48}}
        if "start" not in values
        else {"start": published}
    )
    training = {**values["training"], **LITTLE}
    assert estimate_run(
        read(PretrainConfig, {**values, **own, "training": training, "shards": shards, "out": tmp_path})
    ).steps


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_it_says_what_it_is_good_for_what_it_reached_and_how_to_find_it_again(file: Path) -> None:
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    parts = [said.index(f"\n{word}:") for word in ("Good for", "Reached", "Again")]
    assert parts == sorted(parts)
    again = commands(said[parts[-1] :].partition(":\n")[2])
    assert any("bothways search " in one for one in again)
    assert any(f"recipes/{file.name}" in one for one in again)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "expected a function recipe"),
        ("def recipe(): return [1]", "expected keys and values, got list"),
        ("def recipe(): return 1 / 0", r"does not run: ZeroDivisionError: division by zero \(line 1\)"),
        ("import nowhere", "does not run: ModuleNotFoundError"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=said) as refused:
        load_config(file)
    assert str(file) in str(refused.value)
