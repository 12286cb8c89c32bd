"""Tasks of one's own: what is checked when one is registered, and whenever one of its methods was called."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import isabstract, isclass
from typing import Any, get_args

import numpy as np

from bothways.batch import Sample
from bothways.errors import BothwaysError, UsageError
from bothways.model import TaskHead
from bothways.model.abilities import Kind, Side
from bothways.model.heads import TASK_HEADS
from bothways.own import line_of
from bothways.tasks.records import BadField
from bothways.tasks.task import Example, Task


class OwnTaskError(BothwaysError):
    """A task in a file of the user's own that does not do what a task does."""


Fits = Callable[[Any, Any, Sequence[Any]], bool]


def _roles(found: Any, *_: Any) -> bool:
    return isinstance(found, tuple) and len(found) == 2 and all(isinstance(one, list | tuple) for one in found)


def _head(found: Any, *_: Any) -> bool:
    return (
        isinstance(found, TaskHead)
        and found.head in TASK_HEADS
        and found.kind in get_args(Kind)
        and found.reads in get_args(Side)
    )


def _samples(found: Any, _: Any, given: Sequence[Any]) -> bool:
    if not isinstance(found, list) or not all(isinstance(one, Sample) for one in found):
        return False
    heads = {one.name: one for one in given if isinstance(one, TaskHead)}
    targets = [target for one in found for target in one.targets]
    return all(_learnable(np.asarray(one.labels), len(one.at), heads.get(one.head)) for one in targets)


def _learnable(labels: np.ndarray, count: int, head: TaskHead | None) -> bool:
    """Whether a head can learn labels [N] or [N, C], of as many places."""
    if labels.dtype.kind not in "biuf" or not labels.ndim or len(labels) != count:
        return False
    if head is None or head.kind != "one" or labels.ndim > 1:
        return True
    return bool(((labels >= 0) & (labels < len(head.labels))).all())


def _prediction(found: Any, task: Any, _: Any) -> bool:
    there = found if isinstance(found, dict) else getattr(found, "__dataclass_fields__", None)
    return there is not None and (not task.key or task.key in there)


def _scores(found: Any, task: Any, _: Any) -> bool:
    return (
        isinstance(found, Mapping)
        and next(iter(found), None) == task.metric
        and all(isinstance(one, float | int) and math.isfinite(one) for one in found.values())
    )


HEAD = "a TaskHead whose head is one of {}, its kind of {}, its reads of {}".format(
    *(", ".join(some) for some in (TASK_HEADS, get_args(Kind), get_args(Side)))
)

EXPECTED: dict[str, tuple[str, Fits]] = {
    "roles": ("two lists of roles of columns, those needed and those optional", _roles),
    "read": ("an Example", lambda found, *_: isinstance(found, Example)),
    "head": (
        HEAD,
        _head,
    ),
    "encode": ("a list of Samples, whose targets have a label of the head for each of their places", _samples),
    "decode": ("a dataclass or a dict, with the field {task.key!r} that is the task's key", _prediction),
    "score": ("{{metric: float}}, {task.metric!r} first, the task's own metric; none may be nan", _scores),
}
"""{method: what it returns, of a task, and whether that is so of (what, the task's class, what it was given)}"""


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
            if name == "decode" and not cls.key:
                expected = "a dataclass or a dict"
            setattr(cls, name, _checked(vars(cls)[name], cls, expected.format(task=cls), fits))
    made: Task = cls()
    return made


def _checked(method: Any, task: Any, expected: str, fits: Fits) -> Callable[..., Any]:
    file, first = method.__code__.co_filename, method.__code__.co_firstlineno

    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        about = f"the task {task.name!r}, {method.__name__} in {file}"
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
        if not fits(found, task, [*given, *named.values()]):
            raise OwnTaskError(f"{about} (line {first}){at}: expected {expected}, got {found!r:.80}")
        return found

    return call
