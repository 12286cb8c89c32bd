"""A fine-tuned model at work: files of any size in, answers out in the same order; and how good they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bothways.errors import ModelError, UsageError
from bothways.files import writing
from bothways.inference.answering import logits_of
from bothways.inference.examples import Encoded
from bothways.inference.loading import folder_of
from bothways.machine import bf16_instructions
from bothways.model import Answers, Model, local, read_saved
from bothways.tasks.config import TASKS
from bothways.tasks.data import check_known, columns_of, read_examples
from bothways.tasks.records import BadField, Skip, records, refuse
from bothways.tasks.task import Example, Heard, Task
from bothways.text import Tokenizer

AT_ONCE = 4096  # examples in memory


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fine-tuned model with all that is needed to ask it; `length` is that of the longest text in pieces."""

    task: Task
    model: Model
    tokenizer: Tokenizer
    answers: Answers
    length: int

    @classmethod
    def load(cls, run: str | Path, *, precision: str = "auto") -> Tuned:
        """
        Raises:
            ModelError: no fine-tuned model there.
        """
        folder = folder_of(local(run))
        saved = read_saved(folder)
        answers = saved.trained.answers
        if answers is None or answers.task not in TASKS:
            raise ModelError(f"{folder} was not fine-tuned: expected what bothways finetune leaves, a folder model/")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        bf16 = precision == "bf16" or (precision == "auto" and (device == "cuda" or bf16_instructions()))
        model = saved.model.eval().to(device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
        length = min(saved.model.config.length, _length(folder) or saved.model.config.length)
        return cls(TASKS[answers.task], model, Tokenizer.load(folder), answers, length)

    def answer(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """What is said of every example, in order."""
        parts = [encode(self.task, example, self.tokenizer, self.answers, length=self.length) for example in examples]
        logits = iter(logits_of(self.model, [part for some in parts for part in some], self.answers))
        said = []
        for example, some in zip(examples, parts, strict=True):
            heard = Heard(some, [next(logits) for _ in some], self.answers, self.tokenizer)
            one = self.task.decode(example, heard)
            cut = sum(part.cut for part in some)
            said.append({**one, "truncated": cut} if cut else one)
        return said


def _length(folder: Path) -> int | None:
    said = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("model_max_length")
    return int(said) if isinstance(said, int) else None


def encode(task: Task, example: Example, tokenizer: Tokenizer, answers: Answers, *, length: int) -> list[Encoded]:
    """The parts of an example that have something to say."""
    return [part for part in task.encode(example, tokenizer, answers, length=length) if len(part.at)]


def measure(tuned: Tuned, examples: Sequence[Example]) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """{metric: value} over examples whose answers are known, and what was said of each."""
    said = [one for some in _some(examples) for one in tuned.answer(some)]
    return tuned.task.score(examples, said, tuned.answers), said


def evaluate(
    run: str | Path, file: Path, *, columns: dict[str, str] | None = None, skip: Skip = refuse, precision: str = "auto"
) -> dict[str, Any]:
    """The scores of a fine-tuned model on a file, with how many examples there were.

    Raises:
        DataError: a record without a known answer, unless such are skipped.
        ModelError: no fine-tuned model there.
    """
    tuned = Tuned.load(run, precision=precision)
    _, examples = read_examples(tuned.task, file, said=columns or {}, skip=skip)
    examples = check_known(tuned.task, examples, tuned.answers, skip)
    scores, _ = measure(tuned, examples)
    return {**scores, "examples": len(examples)}


def predict(
    run: str | Path,
    file: Path,
    out: Path,
    *,
    columns: dict[str, str] | None = None,
    skip: Skip = refuse,
    precision: str = "auto",
) -> int:
    """Writes a line of JSON for every record, in order: its id, and what the model says; returns how many.

    Raises:
        DataError: a record that is not what the task needs, unless such are skipped.
        UsageError: `out` is the file that is read.
    """
    if out.exists() and out.samefile(file):
        raise UsageError(f"--out {out} is the file that is read: name another")
    tuned = Tuned.load(run, precision=precision)
    count = 0
    aside = out.with_name(f".{out.name}.partial")
    try:
        with writing(out.parent), open(aside, "w", encoding="utf-8") as target:
            for some in _some(_stream(tuned.task, file, columns or {}, skip)):
                for example, said in zip(some, tuned.answer(some), strict=True):
                    target.write(json.dumps({"id": example.id, **said}, ensure_ascii=False, default=_plain) + "\n")
                    count += 1
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)  # where something went wrong
    return count


def _plain(vector: np.ndarray) -> list[float]:
    return [round(float(number), 6) for number in vector]


def _some(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """As many at once as memory should hold."""
    left = iter(examples)
    while some := list(islice(left, AT_ONCE)):
        yield some


def _stream(task: Task, file: Path, said: dict[str, str], skip: Skip) -> Iterator[Example]:
    columns = None
    for number, (line, record) in enumerate(records(file, skip)):
        columns = columns or columns_of(task, record.keys(), said=said, file=file, gold=False)
        try:
            yield task.read(record, columns, place=f"{file}, line {line}", number=number, gold=False)
        except BadField as error:
            skip(file, line, f"field {error.column!r}: {error}")
