"""What a shell is offered after TAB: typer's own completion, with the names of what is known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bothways.model.config import SIZES
from bothways.model.huggingface.families import FAMILIES
from bothways.objectives import OBJECTIVES
from bothways.tasks import TASKS

STARTED = "import sys; sys.argv[0] = 'bothways'; from bothways.__main__ import main; main()"


def bothways(*words: str, **environment: str) -> str:
    command = [sys.executable, "-c", STARTED, *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def completed(shell: str, line: str) -> str:
    """What a shell is told when TAB is pressed at the end of a line, in the way of typer's script for it."""
    return bothways(
        _BOTHWAYS_COMPLETE=f"complete_{shell}",
        COMP_WORDS=line,
        COMP_CWORD=str(line.count(" ")),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_is_installed_and_answers(shell: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert f"{shell} completion installed" in bothways("--install-completion", shell, **home)
    written = "".join(file.read_text(encoding="utf-8") for file in tmp_path.rglob("*") if file.is_file())
    assert f"_BOTHWAYS_COMPLETE=complete_{shell}" in written
    assert "finetune" in completed(shell, "bothways fine")
    assert "--objective" in completed(shell, "bothways pretrain --obj")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("bothways pretrain --objective ", OBJECTIVES),
        ("bothways show-objective ", OBJECTIVES),
        ("bothways pretrain --size ", SIZES),
        ("bothways finetune --task ", TASKS),
        ("bothways models ", FAMILIES),
    ],
)
def test_names_of_what_is_known(line: str, names: dict[str, object]) -> None:
    assert set(completed("bash", line).split()) == set(names)


def test_the_last_word_of_an_expression_and_a_setting() -> None:
    assert (
        completed("zsh", 'bothways pretrain --objective "1/2 causal + 1/2 ml').strip()
        == "_arguments '*: :((\"1/2 causal + 1/2 mlm\"))'"
    )
    assert completed("bash", "bothways pretrain --set training.sch").split() == [
        f"training.schedule.{name}=" for name in ("shape", "warmup_steps", "decay", "floor")
    ]
