"""Reads a page of documentation and does what it says: its commands and its code, in a folder of its own.

Everything is done by the real commands on this checkout, only shorter: text is little, a run takes a few steps of a
small model in one process, the machine's speed is measured in a moment.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bothways import machine
from bothways.cli import app
from bothways.config import settled
from bothways.corpus import sources
from bothways.model import ModelConfig
from bothways.objectives import OBJECTIVES
from bothways.planning import here
from bothways.tasks import TASKS
from bothways.training import pretraining
from bothways.training.config import Budget, TrainingConfig
from bothways.training.fit import Say, Show
from bothways.training.pretraining import PretrainConfig, setup
from bothways.training.pretraining import dry_run as rehearsal

STEPS = 2
BLOCK = re.compile(r"^(?:<!-- (?P<mark>.*?) -->\n+)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
HERE_DOCUMENT = re.compile(r"<<-? *['\"]?(\w+)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `mark` is what the comment just before it says."""

    kind: str
    text: str
    mark: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        text = self.text
        return [
            Block(found["kind"], found["text"], found["mark"] or "", text[: found.start("text")].count("\n"))
            for found in BLOCK.finditer(text)
        ]

    @property
    def prose(self) -> str:
        """The page without its blocks."""
        return BLOCK.sub("", self.text)

    @property
    def headings(self) -> list[str]:
        return [marks for marks, _ in HEADING.findall(self.prose)]

    @property
    def links(self) -> list[str]:
        """What it points to within the repository: files, and with # places in them."""
        return [link for link in LINK.findall(self.prose) if "://" not in link and not link.startswith("mailto:")]


def commands(text: str) -> list[str]:
    """The commands of a bash block, one a line; those of several lines (a \\ at the end, an open quote) whole."""
    found: list[str] = []
    begun = ""
    for line in text.splitlines():
        begun = f"{begun}\n{line}" if begun else line
        if line.endswith("\\") or not _is_whole(begun):
            continue
        found.append(begun.replace("\\\n", " "))
        begun = ""
    assert not begun, f"a command that does not end: {begun}"
    return [command for command in found if command.strip() and not command.startswith("#")]


def _is_whole(command: str) -> bool:
    if document := HERE_DOCUMENT.search(command):
        return command.splitlines()[-1] == document[1]
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


def run_command(command: str) -> None:
    """Runs one command here; what bothways prints goes to what stands after a | or >."""
    words = shlex.shlex(command, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    said = [] if HERE_DOCUMENT.search(command) else list(words)
    if said[:1] != ["bothways"] or {"&&", ";", "&", "||"} & set(said):
        _shell(command)
        return
    stop = next((i for i, word in enumerate(said) if word in {"|", ">", ">>"}), len(said))
    printed = _bothways(said[1:stop])
    if stop < len(said):
        rest = " ".join(word if word in {"|", ">", ">>"} else shlex.quote(word) for word in said[stop:])
        _shell(f"cat {rest}", given=printed)


def _bothways(words: list[str]) -> str:
    if "--processes" in words:  # several processes: tests/cli/test_launch.py
        at = words.index("--processes")
        words = words[:at] + words[at + 2 :]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def _shell(command: str, *, given: str | None = None) -> None:
    script = f'set -euo pipefail\nbothways() {{ {shlex.quote(sys.executable)} -m bothways "$@"; }}\n{command}\n'
    done = subprocess.run(["bash", "-c", script], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@contextmanager
def shortened() -> Iterator[None]:
    """Runs are short, text is little, and speeds are measured in a moment."""
    documents, train, estimate_run, peak = (
        sources.python_docs,
        pretraining.pretrain,
        rehearsal.estimate_run,
        machine.gemm_peak,
    )

    @settled(PretrainConfig)
    def quick_pretrain(
        config: PretrainConfig,
        *,
        resume: bool = False,
        device: str | None = None,
        track: str | None = None,
        show: Show = lambda line: None,
        say: Say = lambda text: None,
    ) -> Path:
        short = _short(config, resume=resume)
        return train(short, resume=resume, device=device, track=track, show=show, say=say)

    def quick_estimate(config: PretrainConfig, *, device: Any = None, share: int = 1) -> Any:
        return estimate_run(_short(config, resume=False), device=device, share=share)

    def quick_peak(*given: Any, **_: Any) -> float:
        return peak(*given, seconds=0.01)

    def quick_step(shape: ModelConfig, *, size: str, length: int) -> TrainingConfig:
        return TrainingConfig(budget=Budget(steps=1), length=length, step_tokens=4 * length, micro_tokens=4 * length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(here, "SECONDS", 1.0)
        patch.setattr(sources, "python_docs", lambda: islice(documents(), 60))
        patch.setattr(pretraining, "pretrain", quick_pretrain)
        patch.setattr(rehearsal, "estimate_run", quick_estimate)
        patch.setattr(setup, "gemm_peak", quick_peak)
        patch.setattr(here, "training_for", quick_step)
        patch.setenv("THP_MEM_ALLOC_ENABLE", "1")
        ours, tasks = {*OBJECTIVES}, {*TASKS}
        yield
        for known, before in ((OBJECTIVES, ours), (TASKS, tasks)):
            for name in known.keys() - before:  # a page's own
                del known[name]


def _short(config: PretrainConfig, *, resume: bool) -> PretrainConfig:
    """The same run, checked as it was written, at a size that takes a moment."""
    config.model_config_for(8192)
    config.training.check_split(1)
    small = {"length": 16, "step_tokens": 64, "micro_tokens": 32, "validation_rows": 4, "precision": "fp32"}
    budget = Budget(steps=2 * STEPS if resume else STEPS)
    training = config.training.model_copy(update={**small, "budget": budget})
    shape = {} if config.start else {"size": "tiny", "model": {"layers": 1, "length": 256}}
    return config.model_copy(update={**shape, "training": training})
