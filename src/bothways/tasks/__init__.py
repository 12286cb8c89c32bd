"""What is predicted for a text: a file a task, which reads records, encodes examples, decodes and scores logits."""

from __future__ import annotations

from typing import TypeVar

from bothways.errors import UsageError, unknown
from bothways.tasks.answer import Answer
from bothways.tasks.choose import Choose
from bothways.tasks.classify import Classify, Regress
from bothways.tasks.embed import Embed
from bothways.tasks.extract import Extract
from bothways.tasks.instruct import Instruct
from bothways.tasks.intent import Intent
from bothways.tasks.own import checked_task
from bothways.tasks.prefer import Grpo, Prefer
from bothways.tasks.records import BadField as BadField
from bothways.tasks.relate import Relate
from bothways.tasks.rerank import Rerank
from bothways.tasks.reward import RewardTask
from bothways.tasks.tag import Tag
from bothways.tasks.task import Example as Example
from bothways.tasks.task import Task as Task
from bothways.tasks.text2text import QuestionGeneration, Summarise, Text2Text, Translate

C = TypeVar("C", bound=type[Task])

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *(Classify(), Regress(), Tag(), Intent(), Relate(), Answer(), Choose(), Embed(), Extract(), Rerank()),
        *(Text2Text(), Summarise(), Translate(), QuestionGeneration(), Instruct()),
        *(Prefer(), RewardTask(), Grpo()),
    )
}
"""{name: task}; a new task is a file and its class here."""

_OURS = frozenset(TASKS)


def register(cls: C) -> C:
    """Adds a task of one's own, under its `name`.

    Raises:
        UsageError: no whole task, or the name is one of Bothways' own.
    """
    task = checked_task(cls)
    if task.name in _OURS:
        raise UsageError(f"the task {task.name!r} is one of Bothways' own: give yours another name")
    TASKS[task.name] = task
    return cls


def task_named(name: str) -> Task:
    """
    Raises:
        UsageError: there is none of that name.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
