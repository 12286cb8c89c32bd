"""A fine-tuned model at work: files of any size in, predictions out in the same order; and how good they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import numpy as np
import torch

from bothways.arguments import checked
from bothways.corpus.lines import Skip
from bothways.errors import ModelError, UsageError
from bothways.files import writing
from bothways.frames import data_frame
from bothways.inference.decoding.options import Options
from bothways.inference.engine import Engine
from bothways.inference.loading import folder_of
from bothways.inference.pipeline import decoded
from bothways.inference.writing import with_options
from bothways.machine import device_of, dtype_of, precision_for
from bothways.model import TaskHead, local, read_saved
from bothways.own import use
from bothways.tasks import task_named
from bothways.tasks.reading import EncodedExample, check_known, encoded, enough, named, read_examples, streamed
from bothways.tasks.records import Columns, refuse
from bothways.tasks.task import Example, Task
from bothways.text import Tokenizer
from bothways.training.finetuning.baselines import trained_on, worth
from bothways.training.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas

AT_ONCE = 4096  # examples in memory
BESIDE_SCORES = ("examples", "truncated", "tags", "majority", "shuffled_source", "warnings")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fine-tuned model with the task that it is used for; `length` is that of the longest text in tokens."""

    task: Task
    engine: Engine
    head: TaskHead
    length: int

    @classmethod
    def load(
        cls, run: str | Path, *, device: torch.device | str | None = None, generation: Mapping[str, Any] | None = None
    ) -> Tuned:
        """With options of `generation`, of a model that writes, before those that it was saved with.

        Raises:
            ModelError: no fine-tuned model there, or one of several heads.
            UsageError: options for a model that does not write, or that there are not.
            MachineError: there is no such device.
        """
        place = device_of(device)
        use([Path(file) for file in _manifest(run).get("code", ())])
        folder = folder_of(local(run))
        saved = read_saved(folder)
        head = saved.trained.only_head
        if head is None:
            raise ModelError(f"{folder} was not fine-tuned: expected what bothways finetune leaves, a folder model/")
        task = task_named(head.task).like(head)
        if generation:
            head = with_options(head, generation)
        model = saved.model.eval().to(device=place, dtype=dtype_of(precision_for(device=place)))
        trained = replace(saved.trained, heads={head.name: head})
        engine = Engine(model, Tokenizer.load(folder), trained)
        return cls(task, engine, head, engine.length)

    def encode(self, examples: Iterable[Example], skip: Skip = refuse) -> list[EncodedExample]:
        """The examples as samples, without their gold answers.

        Raises:
            DataError: one that cannot be read, unless such are skipped.
        """
        tokenizer, length = self.engine.tokenizer, self.length
        return list(encoded(self.task, examples, tokenizer, self.head, length=length, skip=skip, taught=False))

    def predict(self, examples: Sequence[EncodedExample]) -> list[dict[str, Any]]:
        """The prediction for every example, in order, as it is written to a file.

        Raises:
            ModelError: logits that are no numbers.
        """
        found = []
        for (_, samples), one in zip(examples, decoded(self.engine, self.task, self.head, examples), strict=True):
            record = one if isinstance(one, dict) else asdict(one)
            cut = sum(sample.cut for sample in samples)
            found.append({**record, "truncated": cut} if cut else record)
        return found


def measure(tuned: Tuned, examples: Sequence[EncodedExample]) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """{metric: value} over examples whose gold answers are known, and the prediction for each."""
    predictions = [one for some in _some(examples) for one in tuned.predict(some)]
    return tuned.task.score([example for example, _ in examples], predictions, tuned.head), predictions


class Evaluation(dict[str, Any]):
    """What `evaluate` found, a dictionary: {metric: value}, and beside them

    examples   how many there were
    truncated  how many of them were cut
    tags       how tags are read; empty where there are none
    majority   {"answer", "scores"} of always giving the commonest right answer; None where the task has no labels
    shuffled_source  of a model that writes, whether it uses its source, as `SourceUse` has it
    warnings   sentences
    """

    @property
    def scores(self) -> dict[str, float]:
        """{metric: value} alone, the task's own first."""
        return {name: value for name, value in self.items() if name not in BESIDE_SCORES}

    def __repr__(self) -> str:
        majority = self.get("majority") or {"scores": {}}
        heads = ("", "score", *([f"always {majority['answer']!r}"] if majority["scores"] else []))
        rows = [heads] + [
            (name, f"{value:.4f}", *([f"{majority['scores'][name]:.4f}"] if name in majority["scores"] else []))
            for name, value in self.scores.items()
        ]
        wide = max(len(name) for name, *_ in rows)
        lines = [f"{name:{wide}}  {'  '.join(f'{one:6}' for one in some)}".rstrip() for name, *some in rows]
        told = f"{self.get('examples', 0)} examples, {self.get('truncated', 0)} of them cut"
        return "\n".join([*lines, told, *(f"warning: {line}" for line in self.get("warnings", ()))])

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each metric: its value, and what always giving the commonest right answer would get (majority; nan
        where the task has no labels).

        Raises:
            MachineError: pandas is not installed.
        """
        always = (self.get("majority") or {"scores": {}})["scores"]
        return data_frame(
            {"metric": name, "value": value, "majority": always.get(name, float("nan"))}
            for name, value in self.scores.items()
        )


@checked
def evaluate(
    run: str | Path,
    file: Path,
    *,
    columns: dict[str, str] | None = None,
    skip: Skip = refuse,
    device: torch.device | str | None = None,
    show: Callable[[Columns], None] = lambda columns: None,
    **generation: Unpack[Options],
) -> Evaluation:
    """The scores of a fine-tuned model on a file, {metric: value}, with how many examples there were, how many of them
    were cut, how its tags are read, what always giving the commonest answer would get, and warnings: how many texts
    the run was trained on, and whether one answer was given to everything.

    `show` is handed how the columns are read; `generation` are options for a model that writes, num_beams=4.

    Raises:
        DataError: a record without a known answer, unless such are skipped; or none at all.
        ModelError: no fine-tuned model there.
    """
    tuned, manifest = Tuned.load(run, device=device, generation=generation), _manifest(run)
    usual, names = manifest.get("roles", {}), manifest.get("label_names") or ()
    read, examples = read_examples(tuned.task, file, given=columns, skip=skip, usual=usual)
    show(read)
    known = tuned.encode(check_known(tuned.task, named(examples, names, skip), tuned.head, skip), skip)
    enough(known, file, "to measure by", skip)
    scores, predictions = measure(tuned, known)
    measured = [example for example, _ in known]
    judged = worth(tuned.task, measured, predictions, tuned.head)
    return Evaluation(
        **scores,
        examples=len(known),
        truncated=sum("truncated" in one for one in predictions),
        tags=tuned.task.reading(tuned.head),
        **{key: judged[key] for key in ("majority", "shuffled_source") if key in judged},
        warnings=[*trained_on(Path(run), measured, where="texts"), *judged["warnings"]],
    )


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
    *,
    columns: dict[str, str] | None = None,
    skip: Skip = refuse,
    device: torch.device | str | None = None,
    show: Callable[[Columns], None] = lambda columns: None,
    **generation: Unpack[Options],
) -> Predictions | int:
    """The prediction for every record of a file, in order; or with `out`, for files of any size, a line of JSON for
    each written there, and how many.

    `show` is handed how the columns are read; `generation` are options for a model that writes, num_beams=4.

    Raises:
        DataError: a record that is not what the task needs, unless such are skipped.
        UsageError: `out` is the file that is read, or a folder.
    """
    if out is None:
        tuned = Tuned.load(run, device=device, generation=generation)
        return Predictions([*_predicted(tuned, run, file, columns, skip, show)])
    if out.is_dir() or (out.exists() and file.exists() and out.samefile(file)):
        raise UsageError(f"--out {out} is {'a folder' if out.is_dir() else 'the file that is read'}: name another")
    tuned = Tuned.load(run, device=device, generation=generation)
    predicted = _predicted(tuned, run, file, columns, skip, show)
    count = 0
    aside = out.with_name(f".{out.name}.partial")
    try:
        with writing(out.parent):
            out.parent.mkdir(parents=True, exist_ok=True)
            # What is half a character, as an id may hold, is written as JSON escapes it.
            with open(aside, "w", encoding="utf-8", errors="backslashreplace") as target:
                for one in predicted:
                    target.write(json.dumps(one, ensure_ascii=False, default=_plain) + "\n")
                    count += 1
            aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)  # where something went wrong
    return count


def _predicted(
    tuned: Tuned,
    run: str | Path,
    file: Path,
    columns: dict[str, str] | None,
    skip: Skip,
    show: Callable[[Columns], None],
) -> Iterator[dict[str, Any]]:
    """{"id", what is predicted} of each record, in order."""
    usual = _manifest(run).get("roles", {})
    read, examples = streamed(tuned.task, file, given=columns, skip=skip, usual=usual, gold=False)
    show(read)

    def answered(some: Sequence[Example]) -> Iterator[dict[str, Any]]:
        encodable = tuned.encode(some, skip)
        for (example, _), one in zip(encodable, tuned.predict(encodable), strict=True):
            yield {"id": example.id, **one}

    return (one for some in _some(examples) for one in answered(some))


def _manifest(run: str | Path) -> dict[str, Any]:
    """How a run was trained; for a model without a run, nothing."""
    folder = Path(run)
    return RunFolder(folder).manifest() if folder.is_dir() else {}


def _plain(vector: np.ndarray) -> list[float]:
    return [round(float(number), 6) for number in vector]


def _some(things: Iterable[T]) -> Iterator[list[T]]:
    """As many at once as memory should hold."""
    left = iter(things)
    while some := list(islice(left, AT_ONCE)):
        yield some
