"""Labelled files as examples: read, checked against each other, held out, encoded."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.corpus.lines import Skip
from bothways.corpus.records import field_names, read_records
from bothways.errors import DataError, UsageError
from bothways.model import TaskHead
from bothways.tasks.instruct import Instruct
from bothways.tasks.labels import labels_in, renamed, spellings
from bothways.tasks.mixture import is_mixture, mixed
from bothways.tasks.records import BadField, Columns, Skipped, plain
from bothways.tasks.task import Example, Task
from bothways.text import Tokenizer

EncodedExample = tuple[Example, list[Sample]]


def enough(examples: Sequence[Any], file: Path, what: str, skip: Skip, *, otherwise: str = "") -> None:
    """
    Raises:
        DataError: none are left.
    """
    if not examples:
        raise DataError(f"{file}: expected examples {what}, got none.{_left_out(skip)} Bring more{otherwise}.")


def _left_out(skip: Skip) -> str:
    wrong = skip.found if isinstance(skip, Skipped) else []
    return f" {len(wrong)} were left out, the first: {wrong[0]}." if wrong else ""


def read_examples(
    task: Task,
    path: Path,
    *,
    skip: Skip,
    given: Mapping[str, str] | None = None,
    usual: Mapping[str, str] | None = None,
) -> tuple[Columns, list[Example]]:
    """All of a file, with how its columns were read."""
    columns, examples = streamed(task, path, given=given, skip=skip, usual=usual)
    return columns, list(examples)


def streamed(
    task: Task,
    path: Path,
    *,
    skip: Skip,
    given: Mapping[str, str] | None = None,
    usual: Mapping[str, str] | None = None,
    gold: bool = True,
) -> tuple[Columns, Iterator[Example]]:
    """The examples of a file one by one, with how its columns are read.

    Args:
        given: {role: column}; the others are guessed by the names of all fields that the file has.
        usual: the same, of the file that the model was trained on: taken where there is such a column.
        gold: without it, answers are neither needed nor read.
    """
    if isinstance(task, Instruct) and is_mixture(path):
        return mixed(path, skip, gold=gold)
    fields = field_names(path)
    if not fields and not any(read_records(path, skip)):
        raise DataError(
            f"{path}: expected records, got {f'none.{left_out}' if (left_out := _left_out(skip)) else 'an empty file'}"
        )
    columns = _columns(task, fields, given=given or {}, usual=usual or {}, file=path, gold=gold)

    def examples() -> Iterator[Example]:
        for number, line, record in read_records(path, skip):
            try:
                yield task.read(record, columns, place=f"{path}, line {line}", number=number, gold=gold)
            except BadField as error:
                skip(path, line, f"field {error.column!r}: {error}")

    return columns, examples()


def _columns(
    task: Task,
    fields: Collection[str],
    *,
    given: Mapping[str, str],
    usual: Mapping[str, str],
    file: Path,
    gold: bool,
) -> Columns:
    """Which column is which, for this task; those of answers that nobody knows are not looked for. Where all columns
    are there that the model was trained on, others beside them change nothing."""
    trained = {*usual, *given}
    usual = {role: name for role, name in usual.items() if name in fields}
    there = {*usual, *given}

    def roles(known: bool) -> tuple[Sequence[str], Sequence[str]]:
        found = task.roles(trained, gold=known)
        return found if {*found[0]} <= there else task.roles({*map(plain, fields), *there}, gold=known)

    every, (needed, optional) = roles(True), roles(gold)
    known = dict.fromkeys(chain(*every, needed, optional))
    if other := next((role for role in given if role not in known), None):
        raise UsageError(f"{task.name} has no column for {other} here; it has: {', '.join(known)}")
    wanted = {role: name for role, name in {**usual, **given}.items() if role in (*needed, *optional)}
    return Columns.guess(fields, needed=needed, optional=optional, given=wanted, file=file)


def hold_out(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Those kept and those held out, by a hash of the texts: the same texts are always on the same side."""

    sides: tuple[list[Example], list[Example]] = ([], [])
    for example, seal in zip(examples, seals(examples).tolist(), strict=True):
        sides[seal / 2**64 < share].append(example)
    return sides


def seals(examples: Sequence[Example]) -> np.ndarray:
    """uint64 [E], alike for texts that differ in white space at most."""
    texts = (
        "\0".join(" ".join(unicodedata.normalize("NFC", text).split()) for text in one.sealed or one.texts)
        for one in examples
    )
    return np.array([int.from_bytes(sha256(text.encode()).digest()[:8], "big") for text in texts], dtype=np.uint64)


def named(examples: Sequence[Example], names: Sequence[str], skip: Skip) -> list[Example]:
    """With labels that are numbers, from 0, by their names; as they are where there are none.

    Raises:
        DataError: a number without a name, unless such are skipped.
    """
    if not names:
        return [*examples]
    table, kept = {str(number): name for number, name in enumerate(names)}, []
    for example in examples:
        if odd := [one for one in labels_in(example.gold) if one.lstrip("-").isdecimal() and one not in table]:
            example.leave_out(skip, f"expected the number of a label, 0 to {len(names) - 1}, got {odd[0]}")
        else:
            soft = example.soft and {table.get(label, label): share for label, share in example.soft.items()}
            kept.append(replace(example, gold=renamed(example.gold, table), soft=soft))
    return kept


def check_known(task: Task, examples: Sequence[Example], head: TaskHead, skip: Skip) -> list[Example]:
    """Those whose gold answers a model can give.

    Raises:
        DataError: one that it cannot, unless such are skipped.
    """
    kept = []
    for example in examples:
        known = replace(example, gold=renamed(example.gold, spellings(head.labels)))
        if wrong := task.check(known, head):
            example.leave_out(skip, wrong)
        else:
            kept.append(known)
    return kept


def encoded(
    task: Task,
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    head: TaskHead,
    *,
    length: int,
    skip: Skip,
    taught: bool,
) -> Iterator[EncodedExample]:
    """Each with its parts, whose labels are those of the example if they are to be `taught`.

    Raises:
        DataError: one that cannot be read, or its right answer not be taught, unless such are skipped.
    """
    for example in examples:
        try:
            shown = example if taught else replace(example, gold=None)
            parts = task.encode(shown, tokenizer, head, length=length)
            parts = [part for part in parts if any(len(target.at) for target in part.targets)]
            if taught and not parts:
                raise UsageError("expected a text, got none that the tokenizer keeps")
        except UsageError as error:
            example.leave_out(skip, str(error))
        else:
            yield example, parts
