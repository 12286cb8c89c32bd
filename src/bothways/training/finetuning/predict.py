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

from bothways.arguments import at_least, checked
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
from bothways.model import Abilities, TaskHead, local, read_saved
from bothways.own import use
from bothways.tasks import task_named
from bothways.tasks.extract import Extract
from bothways.tasks.reading import EncodedExample, check_known, encoded, enough, named, read_examples, streamed
from bothways.tasks.records import Columns, refuse
from bothways.tasks.task import Example, Task
from bothways.text import Tokenizer
from bothways.training.finetuning.baselines import trained_on, worth
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas

AT_ONCE = 4096  # examples in memory
BESIDE_SCORES = (
    *("examples", "truncated", "tags", "majority", "baselines", "shuffled_source", "warnings"),
    *("tasks", "left_out"),
)
SETTINGS = Extract.settings
"""Settings of a task that may be others whenever the model is asked."""
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
        cls,
        run: str | Path,
        *,
        task: str | None = None,
        device: torch.device | str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Tuned:
        """
        Args:
            task: by its name, of a model that was taught several.
            options: how it predicts, before what it was saved with: settings of its task, or of a model that writes
                options of generating.

        Raises:
            ModelError: no fine-tuned model there, or no such task, or several and no name.
            UsageError: settings of another task, options for a model that does not write, or that there are not.
            MachineError: there is no such device.
        """
        place = device_of(device)
        use([Path(file) for file in _manifest(run).get("code", ())])
        folder = folder_of(local(run))
        saved = read_saved(folder)
        head = head_named(saved.trained, task, folder)
        if options:
            head = _asked_so(head, options)
        model = saved.model.eval().to(device=place, dtype=dtype_of(precision_for(device=place)))
        trained = replace(saved.trained, heads={**saved.trained.heads, head.name: head})
        engine = Engine(model, Tokenizer.load(folder), trained)
        return cls(task_named(head.task).like(head), engine, head, engine.length)

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


def _asked_so(head: TaskHead, options: Mapping[str, Any]) -> TaskHead:
    """
    Raises:
        UsageError: a setting of another task, or what `with_options` refuses.
    """
    settings = {name: value for name, value in options.items() if name in SETTINGS}
    if odd := next((name for name in settings if name not in task_named(head.task).settings), None):
        raise UsageError(f"{odd} is for extract, and this model was fine-tuned to {head.task}: leave it out")
    at_least(1, "sentences", settings.get("sentences"), "how many make up a summary")
    rest = {name: value for name, value in options.items() if name not in settings}
    return with_options(replace(head, **settings), rest) if rest else replace(head, **settings)


def head_named(trained: Abilities, name: str | None, folder: Path) -> TaskHead:
    """The only head of a model, or the one of a name.

    Raises:
        ModelError: there is none, none of that name, or several and no name.
    """
    heads = trained.heads if trained.hidden is None else {}
    if not heads:
        raise ModelError(f"{folder} was not fine-tuned: expected what bothways finetune leaves, a folder model/")
    if name is None and len(heads) > 1:
        raise ModelError(f"{folder} was taught several tasks: name one of them (--task), {', '.join(heads)}")
    first = next(iter(heads.values()))
    if name is None or (len(heads) == 1 and name == first.task):
        return first
    if name not in heads:
        raise ModelError(f"{folder} was not taught {name!r}; it has: {', '.join(heads)}")
    return heads[name]


def measure(
    tuned: Tuned, examples: Sequence[EncodedExample], team: Processes | None = None
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """{metric: value} over examples whose gold answers are known, and the prediction for each; the processes of a
    `team`, all of which ask, predict a share of them each."""

    def predicted(mine: Sequence[EncodedExample]) -> list[dict[str, Any]]:
        return [one for some in _some(mine) for one in tuned.predict(some)]

    predictions = team.shared(examples, predicted) if team else predicted(examples)
    return tuned.task.score([example for example, _ in examples], predictions, tuned.head), predictions


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
        if several := self.get("tasks"):
            return "\n\n".join([*(f"{name}\n{one}" for name, one in several.items()), f"mean  {self['mean']:.4f}"])
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
def evaluate(run: str | Path, file: Path | None = None, **asking: Unpack[Asking]) -> Evaluation:
    """The scores of a fine-tuned model on a file, {metric: value}, with how many examples there were, how many of them
    were cut, how its tags are read, what always giving the commonest answer would get, and warnings: how many texts
    the run was trained on, and whether one answer was given to everything.

    Of a run of several tasks, without a file: {"tasks": {name: the same on its test file, or else its dev file},
    "mean": of their own metrics, "left_out": [the names of tasks that have neither]}. Of a model that writes,
    `asking` holds options of generating too: num_beams=4; they are for those of its tasks that write.

    Raises:
        DataError: a record without a known answer, unless such are skipped; or none at all.
        ModelError: no fine-tuned model there.
        UsageError: no file, where the run does not name any.
    """
    if file is None:
        return _evaluated_all(run, asking)
    task, skip = asking.get("task"), asking.get("skip", refuse)
    tuned, manifest = _asked(run, asking), _manifest(run, task)
    usual, names = manifest.get("roles", {}), manifest.get("label_names") or ()
    read, examples = read_examples(tuned.task, file, given=asking.get("columns"), skip=skip, usual=usual)
    asking.get("show", _nothing)(read)
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
        **{key: judged[key] for key in ("majority", "baselines", "shuffled_source") if key in judged},
        warnings=[*trained_on(remembered(Path(run), tuned.head.name), measured, where="texts"), *judged["warnings"]],
    )


def _evaluated_all(run: str | Path, asking: Asking) -> Evaluation:
    """As `evaluate` without a file."""
    told = _manifest(run).get("tasks")
    if not told:
        raise UsageError(f"{run}: expected a file to measure on, got none: name one behind the run")
    if asking.get("columns"):
        raise UsageError("columns of a file are named where one file is measured: name a task and its file")
    files = {name: one["files"].get("test") or one["files"].get("dev") for name, one in told.items()}
    wanted = [name for name in files if asking.get("task") in (None, name)]
    if not wanted:
        raise UsageError(f"{run} was not taught {asking.get('task')!r}; it has: {', '.join(files)}")
    writes = [name for name in wanted if "objective" in told[name]]
    for_all: Any = {key: value for key, value in asking.items() if key not in Options.__annotations__}
    given = {name: for_all if writes and name not in writes else asking for name in wanted if files[name]}
    found = {name: evaluate(run, Path(files[name]), **{**own, "task": name}) for name, own in given.items()}
    if not found:
        raise UsageError(
            f"{run}: expected a test or a dev file of {', '.join(wanted)}, got none: name a task and a file"
        )
    own = [next(iter(scores.values())) for scores in found.values()]
    left = [name for name in wanted if name not in found]
    return Evaluation(tasks=found, mean=float(np.mean(own)), left_out=left)


def remembered(run: Path, task: str) -> Path:
    """The folder that holds which texts a task was trained on: of one of several, a folder of its own."""
    return own if (own := run / "tasks" / task).is_dir() else run


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
    **asking: Unpack[Asking],
) -> Predictions | int:
    """The prediction for every record of a file, in order; or with `out`, for files of any size, a line of JSON for
    each written there, and how many.

    Of a model that writes, a line is a record to teach another by, {"id", "source", "target", "logprob"}, and `asking`
    holds options of generating too: num_beams=4.

    Raises:
        DataError: a record that is not what the task needs, unless such are skipped.
        UsageError: `out` is the file that is read, or a folder.
    """
    if out is None:
        return Predictions([*_predicted(_asked(run, asking), run, file, asking)])
    if out.is_dir() or (out.exists() and file.exists() and out.samefile(file)):
        raise UsageError(f"--out {out} is {'a folder' if out.is_dir() else 'the file that is read'}: name another")
    predicted = _predicted(_asked(run, asking), run, file, asking)
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


def _asked(run: str | Path, asking: Asking) -> Tuned:
    """The model in a run, of the task and with the options that are asked for."""
    options = {name: value for name, value in asking.items() if name in (*Options.__annotations__, *SETTINGS)}
    return Tuned.load(run, task=asking.get("task"), device=asking.get("device"), options=options)


def _predicted(tuned: Tuned, run: str | Path, file: Path, asking: Asking) -> Iterator[dict[str, Any]]:
    """{"id", what is predicted} of each record, in order; of a model that writes, records to learn from: what it wrote
    is the target, beside its source (sequence distillation, Kim & Rush 2016, section 3.2)."""
    skip = asking.get("skip", refuse)
    usual = _manifest(run, asking.get("task")).get("roles", {})
    read, examples = streamed(tuned.task, file, given=asking.get("columns"), skip=skip, usual=usual, gold=False)
    asking.get("show", _nothing)(read)

    def answered(some: Sequence[Example]) -> Iterator[dict[str, Any]]:
        encodable = tuned.encode(some, skip)
        for (example, _), one in zip(encodable, tuned.predict(encodable), strict=True):
            if tuned.task.writes:
                one = {"source": example.texts[0], "target": one.pop("text"), **one}
            yield {"id": example.id, **one}

    return (one for some in _some(examples) for one in answered(some))


def _manifest(run: str | Path, task: str | None = None) -> dict[str, Any]:
    """How a run was trained, or of several tasks one of them; for a model without a run, nothing."""
    folder = Path(run)
    found = RunFolder(folder).manifest() if folder.is_dir() else {}
    several = found.get("tasks") or {}
    return {**found, **several[task or next(iter(several))]} if several and (task or len(several) == 1) else found


def _nothing(columns: Columns) -> None:
    """Nobody is shown how columns are read."""


def _plain(vector: np.ndarray) -> list[float]:
    return [round(float(number), 6) for number in vector]


def _some(things: Iterable[T]) -> Iterator[list[T]]:
    """As many at once as memory should hold."""
    left = iter(things)
    while some := list(islice(left, AT_ONCE)):
        yield some
