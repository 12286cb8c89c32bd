"""Tasks of one's own: what is checked when one is registered, and whenever one of its methods was called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import wraps
from inspect import isabstract, isclass
from typing import Any

from bothways.batch import Sample
from bothways.errors import BothwaysError, UsageError
from bothways.model import TaskHead
from bothways.own import line_of
from bothways.tasks.records import BadField
from bothways.tasks.task import Example, Task


class OwnTaskError(BothwaysError):
    """A task in a file of the user's own that does not do what a task does."""


def _roles(found: Any) -> bool:
    return isinstance(found, tuple) and len(found) == 2 and all(isinstance(one, list | tuple) for one in found)


def _samples(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(one, Sample) for one in found)


def _scores(found: Any) -> bool:
    return isinstance(found, Mapping) and bool(found) and all(isinstance(one, float | int) for one in found.values())


EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "roles": ("two lists of roles of columns, those needed and those optional", _roles),
    "read": ("an Example", lambda found: isinstance(found, Example)),
    "head": ("a TaskHead", lambda found: isinstance(found, TaskHead)),
    "encode": ("a list of Samples", _samples),
    "decode": ("a dataclass or a dict", lambda found: isinstance(found, dict) or is_dataclass(found)),
    "score": ("{metric: number}, the task's own metric first", _scores),
}
"""{method: what it returns, and whether that is so}"""


def checked_task(cls: Any) -> Task:
    """A task of a class whose methods say, where they fail, which task it is, where, and what was expected.

    Raises:
        UsageError: it is no whole task.
    """
    if not isclass(cls) or not issubclass(cls, Task):
        raise UsageError(f"@register of bothways.tasks expects a class made from Task, got {cls!r:.80}")
    if missing := [name for name in ("name", "metric") if not isinstance(getattr(cls, name, None), str)]:
        raise UsageError(f"the task {cls.__name__} expects {' and '.join(missing)}, as in: name, metric = 'mine', 'f1'")
    if isabstract(cls):
        raise UsageError(f"the task {cls.name!r} ({cls.__name__}) lacks {', '.join(sorted(cls.__abstractmethods__))}")
    for name, (expected, fits) in EXPECTED.items():
        if name in vars(cls):
            setattr(cls, name, _checked(vars(cls)[name], cls.name, expected, fits))
    made: Task = cls()
    return made


def _checked(method: Any, task: str, expected: str, fits: Callable[[Any], bool]) -> Callable[..., Any]:
    file, first = method.__code__.co_filename, method.__code__.co_firstlineno

    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        about = f"the task {task!r}, {method.__name__} in {file}"
        examples = [one for one in given if isinstance(one, Example)]
        place = named.get("place") or (examples[0].place if examples else "")
        at = f", at {place}" if place else ""
        try:
            found = method(*given, **named)
        except (BothwaysError, BadField):
            raise
        except Exception as error:
            where, what = line_of(error, file), f"{type(error).__name__}: {error}"
            raise OwnTaskError(f"{about}{where} failed{at}: expected {expected}, got {what}") from error
        if not fits(found):
            raise OwnTaskError(f"{about} (line {first}){at}: expected {expected}, got {found!r:.80}")
        return found

    return call
