"""Objectives of one's own, in a file of one's own: `--code mine.py`."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path

from bothways.errors import UsageError


def use(files: Sequence[Path]) -> None:
    """Runs Python files, each of which registers objectives (`objectives.register`).

    Raises:
        UsageError: a file that is not there, or does not run.
    """
    for file in files:
        if not file.is_file():
            raise UsageError(f"--code {file}: there is no such file. It should hold functions marked with @register.")
        try:
            runpy.run_path(str(file), run_name=file.stem)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"--code {file} does not run: {type(error).__name__}: {error}") from error
