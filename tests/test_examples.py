"""The quickstart says when a machine got less far than its text promises; the notebook runs."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from bothways.cli import app
from tests.pages import shortened

QUICKSTART = Path(__file__).resolve().parent.parent / "examples" / "quickstart.py"


@pytest.fixture(scope="module")
def quickstart() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quickstart", QUICKSTART)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_behind_the_bigram_is_told_how_to_go_on(quickstart: ModuleType) -> None:
    """Steps done, steps that others do, and a command whose options exist, which fails of the missing run."""
    line = quickstart.too_little({"bits_per_byte": {"causal": 2.33}, "step": 116}, {"bits_per_byte": 2.16})
    assert "116 steps were done" in line and str(quickstart.USUAL_STEPS) in line
    words = shlex.split(line.partition("Go on with: ")[2])
    assert words[:2] == ["bothways", "pretrain"] and f"{2 * quickstart.USUAL_STEPS}steps" in words
    assert "--resume" in words and str(quickstart.RUN) in words
    refused = CliRunner().invoke(app, [*words[1:4], "nowhere", *words[5:7]])
    assert "No such option" not in refused.output and refused.exception is not None


def test_a_model_ahead_of_the_bigram_is_told_nothing(quickstart: ModuleType) -> None:
    assert quickstart.too_little({"bits_per_byte": {"causal": 2.1}, "step": 400}, {"bits_per_byte": 2.16}) == ""


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells, one after another in one process and an empty folder, with less text and shorter runs."""
    pytest.importorskip("pandas")
    book = json.loads((QUICKSTART.parent / "first_steps.ipynb").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    with shortened():
        for number, cell in enumerate(book["cells"]):
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"first_steps.ipynb, cell {number}", "exec"), names)
                assert capsys.readouterr().out.strip(), f"cell {number} prints nothing"
