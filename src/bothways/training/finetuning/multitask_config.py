"""The settings of a run that is taught several tasks at once, and the file that names them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from torch import nn

from bothways.errors import UsageError
from bothways.model.heads import HEADS, TASK_HEADS
from bothways.reading import read_yaml
from bothways.training.finetuning.config import FinetuneConfig, LearningSettings, TaskSettings

MEAN = "mean"
"""What the mean of the tasks' own metrics is called among the scores."""


class OneTask(TaskSettings):
    """One of the tasks that a model is taught at once."""

    name: str = Field(description="What it is called in the model, and asked by.")
    weight: float = Field(default=1.0, gt=0, description="Of how often its examples are drawn.")
    teacher: Path | None = Field(
        default=None, description="A run of this task alone, with the same labels, whose predictions are learned too."
    )
    compare: Path | None = Field(
        default=None, description="A run of this task alone, whose scores stand beside; left out, the teacher."
    )

    @field_validator("name")
    @classmethod
    def _can_be_named(cls, name: str) -> str:
        """
        Raises:
            ValueError: what cannot be the name of a head, or is one already.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ValueError(f"expected letters, digits, _ and - alone; got {name!r}")
        if name in {"words", MEAN, *HEADS, *TASK_HEADS} or hasattr(nn.ModuleDict, name):
            raise ValueError(f"expected a name that is not taken; got {name!r}, which has a meaning of its own here")
        return name


class MultiTaskConfig(LearningSettings):
    """What `bothways finetune --tasks` does."""

    tasks: tuple[OneTask, ...] = Field(min_length=1, description="The tasks, each with its name and files.")
    size_exponent: float = Field(
        default=0.75, ge=0, description="Examples of a task of |D| are drawn by |D| to the power of this, times weight."
    )

    @field_validator("tasks")
    @classmethod
    def _names_differ(cls, tasks: tuple[OneTask, ...]) -> tuple[OneTask, ...]:
        """
        Raises:
            ValueError: two of one name.
        """
        counts = Counter(one.name for one in tasks)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"expected a name of its own for each task; got {twice[0]!r} {counts[twice[0]]} times")
        return tasks

    def of(self, one: OneTask) -> FinetuneConfig:
        """The settings of one of the tasks, as a run of that task alone has them."""
        learning = {name: getattr(self, name) for name in LearningSettings.model_fields}
        return FinetuneConfig(**learning, **{name: getattr(one, name) for name in TaskSettings.model_fields})


def folder_of_task(run: Path, name: str) -> Path:
    """Where a run of several tasks keeps what is of one alone."""
    return run / "tasks" / name


def tasks_in(file: Path) -> dict[str, Any]:
    """What a YAML file says: a list of tasks, or a mapping with such a list as `tasks` and other settings beside it.

    Raises:
        UsageError: the file cannot be read, or holds no tasks.
    """
    found = read_yaml(file)
    found = {"tasks": found} if isinstance(found, list) else found
    tasks = found.get("tasks") if isinstance(found, dict) else None
    if not isinstance(tasks, list) or not all(isinstance(one, dict) for one in tasks) or not tasks:
        raise UsageError(
            f"{file}: expected a list of tasks, got {type(tasks).__name__ if tasks else 'none'}. For example:\n"
            "- {name: sst2, task: classify, train: sst2/train.jsonl, dev: sst2/dev.jsonl}\n"
            "- {name: names, task: tag, train: names/train.jsonl, dev: names/dev.jsonl}"
        )
    return dict(found)
