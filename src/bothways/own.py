"""Code of one's own, in a file of one's own: objectives or tasks that it registers, or a recipe."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        with _named(file):
            found.append(runpy.run_path(str(file), run_name=file.stem))
    return found


def settings_of(file: Path) -> Any:
    """What the function `recipe` of a Python file gives.

    Raises:
        UsageError: a file that is not there, has no such function, or does not run.
    """
    (made,) = use([file])
    if not callable(made.get("recipe")):
        raise UsageError(f"{file}: expected a function recipe() that gives settings, as the files in recipes/ have it")
    with _named(file):
        return made["recipe"]()


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Around the code of a file.

    Raises:
        UsageError: it does not run; the file and the line are named.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        where, what = line_of(error, file), error.msg if isinstance(error, SyntaxError) else error
        raise UsageError(f"{file} does not run: {type(error).__name__}: {what}{where}") from error


def line_of(error: BaseException, file: str | Path) -> str:
    """Where in a file an error came from, as the end of a message; empty where it never was there."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == Path(file)]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]
    return f" (line {lines[-1]})" if lines else ""
