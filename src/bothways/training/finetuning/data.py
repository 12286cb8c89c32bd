"""The examples of a run: read, checked against each other, and a part held out where none is given."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus.lines import Skip
from bothways.corpus.records import field_names, read_records
from bothways.errors import DataError, UsageError
from bothways.inference.examples import Encoded
from bothways.model import Answers
from bothways.tasks import task_named
from bothways.tasks.labels import labels_in, renamed, spellings
from bothways.tasks.records import BadField, Columns, Skipped, plain, refuse
from bothways.tasks.task import Example, Task
from bothways.text import Tokenizer
from bothways.training.finetuning.config import FinetuneConfig
from bothways.training.finetuning.thresholds import check_thresholds

Asked = tuple[Example, list[Encoded]]
"""An example, and its parts as tokens."""


@dataclass(frozen=True, slots=True)
class Data:
    """train, dev, test    examples; test is empty where no file was given
    answers  what the training examples say
    columns  how those of the training file were read
    held     how many of the examples of `train`'s file dev is, if it was cut from there
    skip     what is done with a record that is wrong
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    answers: Answers
    columns: Columns
    held: int
    skip: Skip


def read_data(config: FinetuneConfig, *, reads: str) -> Data:
    """
    Raises:
        DataError: a record that is not what the task needs (unless bad ones are skipped), too few, or a single class.
        UsageError: a column that is not there.
    """
    task = task_named(config.task)
    skip: Skip = Skipped() if config.skip_bad else refuse
    columns, train = read_examples(task, config.train, said=config.columns, skip=skip)
    train = task.fitting(named(train, config.label_names, skip), skip)
    dev: list[Example] = []
    if not config.dev:
        train, dev = hold_out(train, config.dev_share)
    held = len(dev)
    enough(train, config.train, "to train on", skip)
    answers = task.answers(train, reads=reads)
    if held and (rare := [bool(task.check(example, answers)) for example in dev]):
        # A label that was held out as a whole would stop the run: its texts are trained.
        train = [*train, *(example for example, alone in zip(dev, rare, strict=True) if alone)]
        dev = [example for example, alone in zip(dev, rare, strict=True) if not alone]
        answers, held = task.answers(train, reads=reads), len(dev)
    if config.head and config.head not in task.heads:
        raise UsageError(f"{task.name} has {'the heads ' + ', '.join(task.heads) if task.heads else 'one head only'}")
    if config.head:
        answers = replace(answers, head=config.head)  # one of the task's
    _check_settings(config, answers)
    sides = {}
    for side, file in {"dev": config.dev, "test": config.test}.items():
        if file:
            _, some = read_examples(task.like(answers), file, said=config.columns, skip=skip)
            sides[side] = check_known(task, named(some, config.label_names, skip), answers, skip)
    return Data(train, sides.get("dev", dev), sides.get("test", []), answers, columns, held, skip)


def _check_settings(config: FinetuneConfig, answers: Answers) -> None:
    """
    Raises:
        UsageError: one that would change nothing for such answers.
    """
    if config.thresholds == "tuned":
        check_thresholds(answers)
    if config.class_weights == "balanced" and (config.task, answers.kind) != ("classify", "one"):
        raise UsageError("class_weights=balanced is for classify with one label an example")
    if config.label_names and (answers.kind not in ("one", "several")):
        raise UsageError(f"label_names is for labels, which {config.task} has none of")
    if config.label_smoothing and answers.kind != "one":
        raise UsageError("label_smoothing is for one label an example, or a tag a word")


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
    task: Task, path: Path, *, said: Mapping[str, str], skip: Skip, usual: Mapping[str, str] | None = None
) -> tuple[Columns, list[Example]]:
    """All of a file, with how its columns were read."""
    columns, examples = streamed(task, path, said=said, skip=skip, usual=usual)
    return columns, list(examples)


def streamed(
    task: Task,
    path: Path,
    *,
    said: Mapping[str, str],
    skip: Skip,
    usual: Mapping[str, str] | None = None,
    gold: bool = True,
) -> tuple[Columns, Iterator[Example]]:
    """The examples of a file one by one, with how its columns are read.

    Args:
        said: {role: column}; the others are guessed by the names of all fields that the file has.
        usual: the same, of the file that the model was trained on: taken where there is such a column.
        gold: without it, answers are neither needed nor read.
    """
    fields = field_names(path)
    if not fields and not any(read_records(path, skip)):
        raise DataError(
            f"{path}: expected records, got {f'none.{left_out}' if (left_out := _left_out(skip)) else 'an empty file'}"
        )
    columns = _columns(task, fields, said=said, usual=usual or {}, file=path, gold=gold)

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
    said: Mapping[str, str],
    usual: Mapping[str, str],
    file: Path,
    gold: bool,
) -> Columns:
    """Which column is which, for this task; those of answers that nobody knows are not looked for."""
    usual = {role: name for role, name in usual.items() if name in fields}
    every, (needed, optional) = (task.roles({*map(plain, fields), *usual, *said}, gold=known) for known in (True, gold))
    if other := next((role for role in said if role not in chain(*every)), None):
        raise UsageError(f"{task.name} has no column for {other} here; it has: {', '.join(chain(*every))}")
    wanted = {role: name for role, name in {**usual, **said}.items() if role in (*needed, *optional)}
    return Columns.guess(fields, needed=needed, optional=optional, said=wanted, file=file)


def hold_out(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Those kept and those held out, by a hash of the texts: the same texts are always on the same side."""

    sides: tuple[list[Example], list[Example]] = ([], [])
    for example, seal in zip(examples, seals(examples).tolist(), strict=True):
        sides[seal / 2**64 < share].append(example)
    return sides


def seals(examples: Sequence[Example]) -> np.ndarray:
    """uint64 [E], alike for texts that differ in white space at most."""
    texts = ("\0".join(" ".join(unicodedata.normalize("NFC", text).split()) for text in one.texts) for one in examples)
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
            kept.append(replace(example, gold=renamed(example.gold, table)))
    return kept


def check_known(task: Task, examples: Sequence[Example], answers: Answers, skip: Skip) -> list[Example]:
    """Those whose gold answers a model can give.

    Raises:
        DataError: one that it cannot, unless such are skipped.
    """
    kept = []
    for example in examples:
        known = replace(example, gold=renamed(example.gold, spellings(answers.labels)))
        if wrong := task.check(known, answers):
            example.leave_out(skip, wrong)
        else:
            kept.append(known)
    return kept


def encoded(
    task: Task,
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    answers: Answers,
    *,
    length: int,
    skip: Skip,
    taught: bool,
) -> Iterator[Asked]:
    """Each with its parts, whose right answers are those of the example if they are to be `taught`.

    Raises:
        DataError: one that cannot be read, or its right answer not be taught, unless such are skipped.
    """
    for example in examples:
        try:
            shown = example if taught else replace(example, gold=None)
            parts = [part for part in task.encode(shown, tokenizer, answers, length=length) if len(part.at)]
            if taught and not parts:
                raise UsageError("expected a text, got none that the tokenizer keeps")
        except UsageError as error:
            example.leave_out(skip, str(error))
        else:
            yield example, parts
