"""Objectives of one's own: what fails in one says which objective it is, which part, where, and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np

from bothways.batch import Row, Target
from bothways.errors import BothwaysError
from bothways.objectives.objective import Corrupted, Objective
from bothways.own import line_of
from bothways.visibility import Layout


class OwnObjectiveError(BothwaysError):
    """An objective in a file of the user's own that does not do what an objective does."""


def _corrupted(found: Any, row: Row, *_: Any) -> bool:
    if not isinstance(found, Corrupted):
        return False
    chosen, part, tokens = (np.shape(column)[:1] for column in (found.chosen, found.part, found.tokens))
    return chosen == part == (len(row),) and tokens >= (len(row),)


def _layout(found: Any, corrupted: Corrupted) -> bool:
    return isinstance(found, Layout) and len(found.step) == len(corrupted.tokens)


def _targets(found: Any, *_: Any) -> bool:
    return isinstance(found, tuple | list) and all(
        isinstance(one, Target) and len(one.at) == len(one.labels) for one in found
    )


PARTS: dict[str, tuple[str, Callable[..., bool]]] = {
    "corrupt": ("a Corrupted: tokens, and one of chosen and of part for every token of the row", _corrupted),
    "arrange": ("a Layout of as many tokens as are read", _layout),
    "predict": ("a tuple of Targets, each with as many places as labels", _targets),
}
"""{part of an objective: what it returns, and whether that is so}"""


def guarded(function: Callable[..., Objective], name: str) -> Callable[..., Objective]:
    """The same function; where it or a part of what it makes fails, the error names the objective and the line.

    Raises:
        OwnObjectiveError: that, or what is returned is something else than was expected.
    """
    file = function.__code__.co_filename
    about = f"the objective {name!r} in {file}"
    make = _checked(function, about, file, "an Objective", lambda found, *_: isinstance(found, Objective))

    @wraps(function)
    def call(*given: Any, **named: Any) -> Objective:
        made: Objective = make(*given, **named)
        parts: dict[str, Any] = {
            part: _checked(getattr(made, part), f"{about}, {part}", file, expected, fits)
            for part, (expected, fits) in PARTS.items()
        }
        return replace(made, **parts)

    return call


def _checked(
    part: Callable[..., Any], about: str, file: str, expected: str, fits: Callable[..., bool]
) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        try:
            found = part(*given, **named)
        except BothwaysError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise OwnObjectiveError(f"{about}{line_of(error, file)} failed: expected {expected}, got {what}") from error
        if not fits(found, *given):
            raise OwnObjectiveError(f"{about}: expected {expected}, got {found!r:.80}")
        return found

    return call
