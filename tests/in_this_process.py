"""Runs that are processes of their own, done in this one: starting Python and torch takes several times as long."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO

import pytest

from bothways.cli import main
from bothways.evaluation.comparison import measure
from bothways.training.pretraining import setup
from bothways.training.workers import Workers


def do(workers: Workers, command: Sequence[str], said: IO[str], label: str, metrics: Path | None) -> int:
    """What a process of its own would do."""
    module, *arguments = command[2:]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), redirect_stderr(said):
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setattr(setup, "gemm_peak", lambda *_, **__: 1e11)
        try:
            measure.main(*arguments) if module == measure.__name__ else main()
        except SystemExit as left:
            return int(left.code or 0)
    return 0


@contextmanager
def in_this_process() -> Iterator[None]:
    """Inside, one run after another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workers, "_wait", do)
        yield
