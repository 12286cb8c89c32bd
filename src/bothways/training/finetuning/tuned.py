"""A fine-tuned model, ready to predict, and its scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from bothways.arguments import at_least
from bothways.corpus.lines import Skip
from bothways.errors import ModelError, UsageError
from bothways.inference.engine import Engine
from bothways.inference.loading import read_model
from bothways.inference.pipeline import decoded
from bothways.inference.writing import with_options
from bothways.machine import device_of, dtype_of, precision_for
from bothways.model import Abilities, TaskHead, local
from bothways.own import use
from bothways.tasks import task_named
from bothways.tasks.extract import Extract
from bothways.tasks.reading import EncodedExample, encoded
from bothways.tasks.records import refuse
from bothways.tasks.task import Example, Task
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder

AT_ONCE = 4096  # examples in memory
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
        precision: str = "auto",
    ) -> Tuned:
        """
        Args:
            task: by its name, of a model that was taught several.
            options: how it predicts, before what it was saved with: settings of its task, or of a model that writes
                options of generating.
            precision: "fp32" or "bf16"; else what the machine does best.

        Raises:
            ModelError: no fine-tuned model there, or no such task, or several and no name.
            UsageError: settings of another task, options for a model that does not write, or that there are not.
            MachineError: there is no such device.
        """
        place = device_of(device)
        use([Path(file) for file in manifest_of(run).get("code", ())])
        saved, tokenizer, folder = read_model(local(run))
        head = head_named(saved.trained, task, folder)
        if options:
            head = _asked_so(head, options)
        numbers = dtype_of(precision_for(precision, device=place))
        model = saved.model.for_inference(device=place, dtype=numbers, generates=saved.trained.generates)
        trained = replace(saved.trained, heads={**saved.trained.heads, head.name: head})
        engine = Engine(model, tokenizer, trained, name=str(folder))
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
            ModelError: logits that are not finite.
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
        return [one for some in in_parts(mine) for one in tuned.predict(some)]

    predictions = team.shared(examples, predicted) if team else predicted(examples)
    return tuned.task.score([example for example, _ in examples], predictions, tuned.head), predictions


def manifest_of(run: str | Path, task: str | None = None) -> dict[str, Any]:
    """How a run was trained, or of several tasks one of them; for a model without a run, nothing."""
    folder = Path(run)
    found = RunFolder(folder).manifest() if folder.is_dir() else {}
    several = found.get("tasks") or {}
    return {**found, **several[task or next(iter(several))]} if several and (task or len(several) == 1) else found


def in_parts(things: Iterable[T]) -> Iterator[list[T]]:
    """As many at once as memory should hold."""
    left = iter(things)
    while some := list(islice(left, AT_ONCE)):
        yield some
