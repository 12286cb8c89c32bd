"""Many tasks as instructions: labelled records in prompt templates, one drawn for each, and whole families held out.

A YAML file names the tasks (T0, Sanh et al. 2022, sections 4 and 5; FLAN, Wei et al. 2022, section 2):

    tasks:
      - name: reviews
        family: sentiment
        file: reviews.jsonl
        most: 500
        prompts:
          - {prompt: "Is this good or bad? {{ text }}", answer: "{{ label }}"}
          - {prompt: "{{ text }} What does the writer think of it?", answer: "It is {{ label }}."}
    held_out: [inference]

A prompt is a Jinja template over the fields of a record, in the sandbox of chat templates: it can read no file. Where
it comes out empty, it is not for that record, and another is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import numpy as np
from jinja2 import TemplateError
from pydantic import Field

from bothways.config import Frozen, read_file
from bothways.corpus.lines import Skip
from bothways.corpus.records import read_records
from bothways.errors import DataError, UsageError
from bothways.tasks.instruct import asked
from bothways.tasks.records import Columns
from bothways.tasks.task import Example
from bothways.text.chat import FAILURES, sandboxed

SUFFIXES = (".yaml", ".yml")


class TaskPrompt(Frozen):
    """One way to ask, and what is right then."""

    prompt: str = Field(description="What the user says: a template over the fields of a record.")
    answer: str = Field(description="What the assistant answers: the same.")


class PromptedTask(Frozen):
    """Records, and the ways to ask about them."""

    name: str = Field(description="What it is called.")
    file: Path = Field(description="Its records: jsonl, csv, tsv or Parquet; from the folder of the mixture.")
    family: str = Field(default="", description="What tasks like it are called together; left out, its name.")
    prompts: Annotated[tuple[TaskPrompt, ...], Field(min_length=1, description="One is drawn for every record.")]
    most: int | None = Field(default=None, ge=1, description="Records at most, drawn at random; left out, all.")
    weight: float = Field(default=1.0, gt=0, description="How often each is taken: 2 is twice, with other prompts.")


class Mixture(Frozen):
    """Tasks, and which of them are never taught."""

    tasks: Annotated[tuple[PromptedTask, ...], Field(min_length=1, description="The tasks.")]
    held_out: tuple[str, ...] = Field(default=(), description="Families, or tasks, that are only evaluated.")
    seed: int = Field(default=0, ge=0, description="Of which records and prompts are drawn.")

    def split(self) -> tuple[list[PromptedTask], list[PromptedTask]]:
        """Those that are taught, and those that are held out."""
        out = [{one.name, one.family} & {*self.held_out} for one in self.tasks]
        return (
            [one for one, held in zip(self.tasks, out, strict=True) if not held],
            [one for one, held in zip(self.tasks, out, strict=True) if held],
        )


@dataclass(frozen=True, slots=True)
class MixtureColumns(Columns):
    """Of a mixture no columns are guessed: its prompts name them."""

    told: str = ""

    def __str__(self) -> str:
        return self.told


def is_mixture(path: Path) -> bool:
    """Whether a file says which tasks there are, and holds no records itself."""
    return path.suffix.lower() in SUFFIXES


def mixture_in(path: Path) -> Mixture:
    """The mixture that a file says, files named from its folder.

    Raises:
        UsageError: what cannot be read, two tasks of one name, nothing left to teach, a name that is held out and not
            there, or a template that does not read.
    """
    found = read_file(Mixture, path)
    names = [one.name for one in found.tasks]
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise UsageError(f"{path}: expected a name of its own for each task, got {twice!r} twice")
    known = {*names, *(one.family for one in found.tasks)}
    if odd := next((name for name in found.held_out if name not in known), None):
        raise UsageError(f"{path}: held_out: expected a family or a task, got {odd!r}; there are {', '.join(names)}")
    for one in found.tasks:
        for number, prompt in enumerate(one.prompts, 1):
            try:
                sandboxed(prompt.prompt, strict=True), sandboxed(prompt.answer, strict=True)
            except TemplateError as error:
                raise UsageError(f"{path}: {one.name}, prompt {number}: does not read as a template: {error}") from None
    tasks = tuple(one.model_copy(update={"file": path.parent / one.file}) for one in found.tasks)
    return found.model_copy(update={"tasks": tasks})


def mixed(path: Path, skip: Skip, *, gold: bool) -> tuple[Columns, Iterator[Example]]:
    """The examples of all tasks that are not held out, with how many prompts there are.

    Raises:
        UsageError: as `mixture_in`, or where all is held out.
        DataError: a record that a prompt cannot be made of, unless such are skipped.
    """
    mixture = mixture_in(path)
    kept, out = mixture.split()
    if not kept:
        raise UsageError(f"{path}: held_out: expected a task that is not held out, got none")
    prompts = sum(len(one.prompts) for one in kept)
    beside = f"; held out: {', '.join(one.name for one in out)}" if out else ""
    told = f"{', '.join(one.name for one in kept)}: {prompts} prompts of {len(kept)} tasks{beside}"
    return MixtureColumns({}, told=told), (one for some in kept for one in _of_task(some, mixture.seed, skip, gold))


def examples_by_task(path: Path, skip: Skip, *, held_out: bool) -> dict[str, list[Example]]:
    """{task: its examples} of those that are held out, or of those that are taught.

    Raises:
        UsageError, DataError: as `mixed`; or a task without a record.
    """
    mixture = mixture_in(path)
    found = {one.name: [*_of_task(one, mixture.seed, skip, True)] for one in mixture.split()[held_out]}
    if empty := next((name for name, some in found.items() if not some), None):
        raise DataError(f"{path}: {empty}: expected records in its file, got none")
    return found


def _of_task(one: PromptedTask, seed: int, skip: Skip, gold: bool) -> Iterator[Example]:
    """Records drawn, each in a prompt drawn: functions of the seed, the name of the task and the record's number."""
    records, name = [*read_records(one.file, skip)], crc32(one.name.encode())
    order = np.random.default_rng([seed, name]).permutation(len(records))[: one.most]
    for turn in range(round(one.weight * len(order))):
        times, place = divmod(turn, len(order))
        number, line, record = records[order[place]]
        ways = np.roll(np.random.default_rng([seed, name, number]).permutation(len(one.prompts)), -times)
        try:
            yield _asked(one, ways.tolist(), record, number, line, gold)
        except UsageError as error:
            skip(one.file, line, f"{one.name}, {error}")


def _asked(
    one: PromptedTask, ways: Sequence[int], record: dict[str, Any], number: int, line: int, gold: bool
) -> Example:
    """A record in the first of its prompts that is for it.

    Raises:
        UsageError: a prompt that fails, or none that is for it.
    """
    for way in ways:
        chosen = one.prompts[way]
        try:
            prompt = sandboxed(chosen.prompt, strict=True).render(record).strip()
            answer = sandboxed(chosen.answer, strict=True).render(record).strip() if gold else ""
        except FAILURES as error:
            raise UsageError(f"prompt {way + 1}: {error}; the record has {', '.join(record) or 'nothing'}") from None
        if prompt and (answer or not gold):
            made = asked(f"{one.name}-{number}", prompt, answer if gold else None, f"{one.file}, line {line}")
            return replace(made, sealed=tuple(map(str, record.values())))  # whatever the prompt, it is held out
    raise UsageError(f"every prompt is empty for this record, which has {', '.join(record) or 'nothing'}")
