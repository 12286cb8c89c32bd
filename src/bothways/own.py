"""Code of one's own, in a file of one's own: the setting `code` names it, and it registers objectives or tasks."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bothways.errors import UsageError


def use(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Runs Python files, each of which registers objectives or tasks (`objectives.register`, `tasks.register`), and
    gives back what names each of them made.

    Raises:
        UsageError: a file that is not there, or does not run.
    """
    found = []
    for file in files:
        if not file.is_file():
            raise UsageError(
                f"{file}: there is no such file. Expected Python of your own, which the setting code names."
            )
        try:
            found.append(runpy.run_path(str(file), run_name=file.stem))
        except UsageError:
            raise
        except Exception as error:
            where, what = line_of(error, file), error.msg if isinstance(error, SyntaxError) else error
            raise UsageError(f"{file} does not run: {type(error).__name__}: {what}{where}") from error
    return found


def line_of(error: BaseException, file: str | Path) -> str:
    """Where in a file an error came from, as the end of a message; empty where it never was there."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == Path(file)]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]
    return f" (line {lines[-1]})" if lines else ""
