"""A fine-tuned model asked about files of any size: predictions out in the same order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
import torch

from bothways.arguments import checked
from bothways.claims import claimed
from bothways.corpus.lines import Skip
from bothways.errors import UsageError
from bothways.files import whole_file
from bothways.frames import data_frame
from bothways.inference.decoding.options import Options
from bothways.tasks.reading import streamed
from bothways.tasks.records import Columns, refuse
from bothways.tasks.task import Example
from bothways.tasks.text2text import WritingTask
from bothways.training.finetuning.tuned import SETTINGS, Tuned, in_parts, manifest_of

if TYPE_CHECKING:
    import pandas


class Asking(Options, total=False):
    """How a file is asked about; of a model that writes, with options of generating, of one that extracts, with
    `sentences` and `trigram_blocking` as its settings have them.

    task     by its name, of a model that was taught several
    columns  {role: column} where the names do not tell
    skip     what is done with a record that is wrong; left out, it stops
    device   where to compute
    show     is handed how the columns are read
    """

    task: str | None
    columns: dict[str, str] | None
    skip: Skip
    device: torch.device | str | None
    show: Callable[[Columns], None]
    sentences: int
    trigram_blocking: bool


@dataclass(frozen=True, slots=True, repr=False)
class Predictions(Sequence[dict[str, Any]]):
    """The prediction for each record of a file, in order: its id and what the task predicts, as `records`."""

    records: list[dict[str, Any]]

    def __getitem__(self, number: Any) -> Any:
        return self.records[number]

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        first = f", the first {_shortened(repr(self.records[0]))}" if self.records else ""
        return f"Predictions(of {len(self.records)} records{first})"

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each record: its id, and a column for each thing that the task predicts.

        Raises:
            MachineError: pandas is not installed.
        """
        return data_frame(self.records)


def check_out(out: Path, file: Path) -> None:
    """
    Raises:
        UsageError: answers would be written over the file that is read, or over a folder.
    """
    if out.is_dir() or (out.exists() and file.exists() and out.samefile(file)):
        raise UsageError(f"--out {out} is {'a folder' if out.is_dir() else 'the file that is read'}: name another")


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


@overload
def predict(run: str | Path, file: str | Path, out: None = None, **options: Any) -> Predictions: ...
@overload
def predict(run: str | Path, file: str | Path, out: str | Path, **options: Any) -> int: ...
@checked  # type: ignore[misc] # the keywords of both stand here
def predict(
    run: str | Path,
    file: Path,
    out: Path | None = None,
    **asking: Unpack[Asking],
) -> Predictions | int:
    """The prediction for every record of a file, in order; or with `out`, for files of any size, a line of JSON for
    each written there, and how many.

    Of a model that writes, a line is a record to teach another by, {"id", "source", "target", "logprob"}, or of
    instructions {"id", "messages", "logprob"}, and `asking` holds options of generating too: num_beams=4.

    Raises:
        DataError: a record that is not what the task needs, unless such are skipped.
        UsageError: `out` is the file that is read, or a folder, or another process writes there.
        MachineError: `out` cannot be written.
    """
    if out is None:
        return Predictions([*_predicted(asked(run, asking), run, file, asking)])
    check_out(out, file)
    count = 0
    with claimed(out, kind="file"):
        predicted = _predicted(asked(run, asking), run, file, asking)
        with whole_file(out) as target:
            for count, one in enumerate(predicted, 1):  # noqa: B007 - how many there were
                target.write(json.dumps(one, ensure_ascii=False, default=_plain) + "\n")
    return count


def asked(run: str | Path, asking: Asking) -> Tuned:
    """The model in a run, of the task and with the options that are asked for."""
    options = {name: value for name, value in asking.items() if name in (*Options.__annotations__, *SETTINGS)}
    return Tuned.load(run, task=asking.get("task"), device=asking.get("device"), options=options)


def _predicted(tuned: Tuned, run: str | Path, file: Path, asking: Asking) -> Iterator[dict[str, Any]]:
    """{"id", what is predicted} of each record, in order; of a model that writes, records to learn from: what it wrote
    is the target, beside its source (sequence distillation, Kim & Rush 2016, section 3.2)."""
    skip = asking.get("skip", refuse)
    usual = manifest_of(run, asking.get("task")).get("roles", {})
    read, examples = streamed(tuned.task, file, given=asking.get("columns"), skip=skip, usual=usual, gold=False)
    asking.get("show", nobody)(read)

    def answered(some: Sequence[Example]) -> Iterator[dict[str, Any]]:
        encodable = tuned.encode(some, skip)
        for (example, _), one in zip(encodable, tuned.predict(encodable), strict=True):
            if isinstance(tuned.task, WritingTask):
                one = {**tuned.task.record(example, one.pop("text")), **one}
            yield {"id": example.id, **one}

    return (one for some in in_parts(examples) for one in answered(some))


def nobody(columns: Columns) -> None:
    """Nobody is shown how columns are read."""


def _plain(vector: np.ndarray) -> list[float]:
    return [round(float(number), 6) for number in vector]
