"""The examples of a run: read, checked against each other, and a part held out where none is given."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from bothways.errors import DataError, UsageError
from bothways.model import Answers
from bothways.tasks.config import FinetuneConfig, task_named
from bothways.tasks.records import BadField, Columns, Skip, Skipped, records, refuse
from bothways.tasks.task import Example, Task
from bothways.tasks.thresholds import check_thresholds

SEVERAL = 3  # bad records that an error lists


@dataclass(frozen=True, slots=True)
class Data:
    """train, dev, test    examples; test is empty where no file was given
    answers  what the training examples say
    columns  how the columns were read, to be printed
    held     how many of the examples of `train`'s file dev is, if it was cut from there
    skipped  "file, line N: why" of every record that was left out
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    answers: Answers
    columns: str
    held: int
    skipped: list[str]


def read_data(config: FinetuneConfig, *, reads: str) -> Data:
    """
    Raises:
        DataError: a record that is not what the task needs (unless bad ones are skipped), too few, or a single class.
        UsageError: a column that is not there.
    """
    task = task_named(config.task)
    skipped = Skipped()
    skip: Skip = skipped if config.skip_bad else refuse
    columns, train = read_examples(task, config.train, said=config.columns, skip=skip)
    if config.dev:
        _, dev = read_examples(task, config.dev, said=config.columns, skip=skip)
        held = 0
    else:
        train, dev = hold_out(train, config.dev_share)
        held = len(dev)
    if not train or not dev:
        raise DataError(
            f"{config.train}: expected examples to train on and to choose by, got {len(train)} and {len(dev)}. "
            "Bring more, or name a --dev file."
        )
    answers = task.answers(train, reads=reads)
    if config.head and config.head not in task.heads:
        raise UsageError(f"{task.name} has {'the heads ' + ', '.join(task.heads) if task.heads else 'one head only'}")
    if config.head:
        answers = replace(answers, head=config.head)  # one of the task's
    if config.thresholds == "tuned":
        check_thresholds(answers)
    test = read_examples(task, config.test, said=config.columns, skip=skip)[1] if config.test else []
    dev, test = (check_known(task, some, answers, skip) for some in (dev, test))
    return Data(train, dev, test, answers, str(columns), held, skipped.found)


def read_examples(
    task: Task, path: Path, *, said: dict[str, str], skip: Skip, gold: bool = True
) -> tuple[Columns, list[Example]]:
    """All of a file; without `gold`, answers are neither needed nor read."""
    found: list[Example] = []
    lines = records(path, skip)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: expected records, got an empty file")
    columns = columns_of(task, first[1].keys(), said=said, file=path, gold=gold)
    for number, (line, record) in enumerate(chain([first], lines)):
        try:
            found.append(task.read(record, columns, place=f"{path}, line {line}", number=number, gold=gold))
        except BadField as error:
            skip(path, line, f"field {error.column!r}: {error}")
    return columns, found


def columns_of(task: Task, fields: Collection[str], *, said: dict[str, str], file: Path, gold: bool) -> Columns:
    """Which column is which, for this task."""
    needed, optional = task.roles({*fields, *said}, gold=gold)
    wanted = {role: name for role, name in said.items() if role in (*needed, *optional)}
    return Columns.guess(fields, needed=needed, optional=optional, said=wanted, file=file)


def hold_out(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Those kept and those held out, by a hash of the texts: the same texts are always on the same side."""

    def held(example: Example) -> bool:
        seal = hashlib.sha256("\0".join(example.texts).encode()).digest()
        return int.from_bytes(seal[:8], "big") / 2**64 < share

    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        sides[held(example)].append(example)
    return sides


def check_known(task: Task, examples: Sequence[Example], answers: Answers, skip: Skip) -> list[Example]:
    """Those whose gold answers a model can give.

    Raises:
        DataError: one that it cannot, unless such are skipped.
    """
    kept = []
    for example in examples:
        if wrong := task.check(example, answers):
            file, _, line = example.place.rpartition(", line ")
            skip(Path(file), int(line), wrong)
        else:
            kept.append(example)
    return kept
