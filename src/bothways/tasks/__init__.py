"""What is asked of a text: a file a task, which reads records, encodes examples, decodes logits and scores them."""

from __future__ import annotations

from bothways.errors import unknown
from bothways.tasks.answer import Answer
from bothways.tasks.choose import Choose
from bothways.tasks.classify import Classify, Regress
from bothways.tasks.embed import Embed
from bothways.tasks.intent import Intent
from bothways.tasks.relate import Relate
from bothways.tasks.tag import Tag
from bothways.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task for task in (Classify(), Regress(), Tag(), Intent(), Relate(), Answer(), Choose(), Embed())
}


def task_named(name: str) -> Task:
    """
    Raises:
        UsageError: there is none of that name.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
