"""Errors that a user can cause: each says what was expected, what came, and what to do; each has an exit code.

0 done, 1 our bug, 2 usage or configuration, 3 data, 4 diverged, 5 checkpoint or model, 6 environment,
130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BothwaysError(ValueError):
    """Something a user can cause and can put right. The command line prints it without a traceback."""

    exit_code = 2


class UsageError(BothwaysError):
    """A wrong argument or configuration."""


class DataError(BothwaysError):
    """A corpus file or a shard that is missing, empty, broken or of another version."""

    exit_code = 3


class DivergedError(BothwaysError):
    """Training produced non-finite numbers again and again."""

    exit_code = 4


class ModelError(BothwaysError):
    """A checkpoint or a saved model that is missing, broken or cannot do what was asked."""

    exit_code = 5


class MachineError(BothwaysError):
    """The machine: disk full, folder not writable, an optional package not installed."""

    exit_code = 6


class Stopped(BothwaysError):
    """A signal ended a run, and what it learned is saved: 143 for SIGTERM, 130 for Ctrl-C."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known: it lists those that are, the nearest first."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def needs(package: str, extra: str) -> MachineError:
    """The error for an optional package that is not installed."""
    return MachineError(f"{package} is not installed. Install it with: pip install 'bothways[{extra}]'")
