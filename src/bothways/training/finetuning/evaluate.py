"""How good a fine-tuned model is on a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from bothways.arguments import checked
from bothways.corpus.lines import Skip
from bothways.errors import UsageError
from bothways.frames import data_frame
from bothways.inference.decoding.options import Options
from bothways.tasks import TASKS
from bothways.tasks.mixture import is_mixture
from bothways.tasks.reading import check_known, enough, named, read_examples
from bothways.tasks.records import refuse
from bothways.training.finetuning.baselines import trained_on, worth
from bothways.training.finetuning.predict import Asking, asked, nobody
from bothways.training.finetuning.tuned import Tuned, manifest_of, measure
from bothways.training.finetuning.zero_shot import by_task

if TYPE_CHECKING:
    import pandas

BESIDE_SCORES = (
    *("examples", "truncated", "tags", "majority", "baselines", "shuffled_source", "warnings"),
    *("tasks", "left_out", "intervals"),
)


class Evaluation(dict[str, Any]):
    """What `evaluate` found, a dictionary: {metric: value}, and beside them

    examples   how many there were
    truncated  how many of them were cut
    tags       how tags are read; empty where there are none
    majority   {"answer", "scores"} of always giving the commonest right answer; None where the task has no labels
    shuffled_source  of a model that writes, whether it uses its source, as `SourceUse` has it
    intervals  of a prompt, {metric: its 95 % bootstrap interval}
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
    `asking` holds options of generating too: num_beams=4; they are for those of its tasks that write. Of a mixture of
    instructions the same, of each task that is held out.

    Raises:
        DataError: a record without a known answer, unless such are skipped; or none at all.
        ModelError: no fine-tuned model there.
        UsageError: no file, where the run does not name any.
    """
    if file is None:
        return _evaluated_all(run, asking)
    task, skip = asking.get("task"), asking.get("skip", refuse)
    tuned, manifest = asked(run, asking), manifest_of(run, task)
    if tuned.task.chats and is_mixture(file):
        return _evaluated_mixture(tuned, file, skip)
    usual, names = manifest.get("roles", {}), manifest.get("label_names") or ()
    read, examples = read_examples(tuned.task, file, given=asking.get("columns"), skip=skip, usual=usual)
    asking.get("show", nobody)(read)
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


def _evaluated_mixture(tuned: Tuned, file: Path, skip: Skip) -> Evaluation:
    """Each task that is held out by itself; of a mixture that holds out none, each task."""
    some = [*by_task(tuned, file, skip)] or [*by_task(tuned, file, skip, held_out=False)]
    found = {}
    for name, known in some:
        scores, predictions = measure(tuned, known)
        judged = worth(tuned.task, [example for example, _ in known], predictions, tuned.head)
        cut = sum("truncated" in one for one in predictions)
        told = {key: judged[key] for key in ("shuffled_source", "warnings") if key in judged}
        found[name] = Evaluation(**scores, examples=len(known), truncated=cut, **told)
    own = [next(iter(scores.values())) for scores in found.values()]
    return Evaluation(tasks=found, mean=float(np.mean(own)), left_out=[])


def _evaluated_all(run: str | Path, asking: Asking) -> Evaluation:
    """As `evaluate` without a file."""
    told = manifest_of(run).get("tasks")
    if not told:
        raise UsageError(f"{run}: expected a file to measure on, got none: name one behind the run")
    if asking.get("columns"):
        raise UsageError("columns of a file are named where one file is measured: name a task and its file")
    files = {name: one["files"].get("test") or one["files"].get("dev") for name, one in told.items()}
    wanted = [name for name in files if asking.get("task") in (None, name)]
    if not wanted:
        raise UsageError(f"{run} was not taught {asking.get('task')!r}; it has: {', '.join(files)}")
    takes = {name: _options_of(told[name]) for name in wanted}
    for_some = {key for key in asking if any(key in options for options in takes.values())}
    given: dict[str, Any] = {
        name: {key: value for key, value in asking.items() if key not in for_some - takes[name]} for name in wanted
    }
    asked_of = [name for name in wanted if files[name]]
    found = {name: evaluate(run, Path(files[name]), **{**given[name], "task": name}) for name in asked_of}
    if not found:
        raise UsageError(
            f"{run}: expected a test or a dev file of {', '.join(wanted)}, got none: name a task and a file"
        )
    own = [next(iter(scores.values())) for scores in found.values()]
    left = [name for name in wanted if name not in found]
    return Evaluation(tasks=found, mean=float(np.mean(own)), left_out=left)


def _options_of(told: Mapping[str, Any]) -> set[str]:
    """The options of asking that a task takes and others may not, by what the manifest has of it."""
    task = TASKS.get(told["task"])
    return {*(Options.__annotations__ if "objective" in told else ()), *(task.settings if task else ())}


def remembered(run: Path, task: str) -> Path:
    """The folder that holds which texts a task was trained on: of one of several, a folder of its own."""
    return own if (own := run / "tasks" / task).is_dir() else run
