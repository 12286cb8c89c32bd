"""What a fine-tuning run holds, and how it begins: records and a model read, encoded, checked, and put in a folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bothways import __version__
from bothways.batch import Sample
from bothways.corpus.counts import by_length
from bothways.errors import UsageError
from bothways.inference.engine import Engine
from bothways.model import Abilities, Model
from bothways.own import use
from bothways.tasks import task_named
from bothways.tasks.instruct import marked
from bothways.tasks.reading import EncodedExample, encoded, enough
from bothways.tasks.records import Skipped, check_roles
from bothways.tasks.task import Task
from bothways.tasks.text2text import WritingTask
from bothways.text import Tokenizer
from bothways.training.finetuning.adapting import adapt, check_adapter
from bothways.training.finetuning.baselines import remember
from bothways.training.finetuning.config import FinetuneConfig
from bothways.training.finetuning.data import Data
from bothways.training.finetuning.layer_decay import state_for
from bothways.training.finetuning.reference import frozen
from bothways.training.finetuning.start import begin, begin_writing, refuse_of_preferences, spread
from bothways.training.finetuning.tuned import Tuned
from bothways.training.finetuning.writing import EpochSampler
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder
from bothways.training.state import State

SIDES = {"train": "to train on", "dev": "to choose by", "test": "to measure by"}


@dataclass(slots=True)
class FinetuneRun:
    """What a run holds while it goes on.

    parts  the samples of every training example
    dev, test  examples with their samples
    steps  of an epoch
    trained  what the model can do in the end
    draw   of a task that writes: what an epoch makes of an example's samples
    why    it is taught as it is, in words
    reference  of a task that refers to it: the model as it was when the run began
    """

    config: FinetuneConfig
    task: Task
    data: Data
    tokenizer: Tokenizer
    model: Model
    state: State
    folder: RunFolder
    team: Processes
    parts: list[list[Sample]]
    dev: list[EncodedExample]
    test: list[EncodedExample]
    length: int
    steps: int
    trained: Abilities
    draw: EpochSampler | None = None
    why: str = ""
    reference: Model | None = None

    @property
    def tuned(self) -> Tuned:
        """The model as it is, ready to predict."""
        head = self.data.head
        engine = Engine(self.model, self.tokenizer, self.trained)
        return Tuned(self.task, engine, head, self.length)

    def examples_of(self, step: int) -> list[int]:
        """The numbers of a step's examples; every epoch has all of them in an order of its own."""
        epoch, place = divmod(step, self.steps)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.parts))
        found: list[int] = order[place * self.config.batch : (place + 1) * self.config.batch].tolist()
        return found

    def count_of(self, step: int) -> int:
        """How many these are: the last step of an epoch may have fewer."""
        return min(self.config.batch, len(self.parts) - step % self.steps * self.config.batch)

    def drawn(self, epoch: int, number: int, progress: float) -> list[Sample]:
        """The samples of a training example in an epoch."""
        parts = self.parts[number]
        return self.draw(parts, epoch, number, progress) if self.draw else parts


def set_up(config: FinetuneConfig, team: Processes, *, resume: bool) -> FinetuneRun:
    """Reads the data and the model, and puts the last checkpoint back; refuses before anything is computed."""
    use(config.code)
    refuse_of_preferences(config)
    task, folder = task_named(config.task), RunFolder(config.out, writes=team.first)
    check_adapter(config, refers=task.refers)
    if resume:
        folder.check_same(config)
    if not config.code:
        check_roles(config.columns)  # before the model is read
    start = begin_writing(config, task) if isinstance(task, WritingTask) else begin(config, task)
    data, model, tokenizer, length = start.data, start.model, start.tokenizer, start.length
    if team.count > 1 and task.compares(data.head):
        raise UsageError(
            f"the loss of {task.name} compares the examples of a step with each other, so that {team.count} processes "
            "cannot share them out: leave --processes out, or do not start it by torchrun"
        )
    adapted = adapt(config, model, tokenizer=tokenizer, trained=start.trained)
    sides = encode_sides(config, data, tokenizer, length=length)
    training, dev, test = ([example for example, _ in sides[side]] for side in SIDES)
    data = replace(data, train=training, dev=dev, test=test)
    if not resume:
        folder.create(config)
        team.wait()  # a run that is there already is noticed by all
    taught, parts = data.train if config.dev else [*data.train, *data.dev], [some for _, some in sides["train"]]
    remember(folder.path, taught, parts, data.dev, again=resume, writes=team.first)
    begun = folder.manifest().get("precision") if resume else None
    state, precision = state_for(config, model, device=team.device, begun=begun)
    run = FinetuneRun(
        config=config,
        task=task,
        data=data,
        tokenizer=tokenizer,
        model=model,
        state=state,
        folder=folder,
        team=team,
        parts=parts,
        dev=spread(sides["dev"], config.dev_generated) if task.writes and not task.refers else sides["dev"],
        test=sides["test"],
        length=length,
        steps=math.ceil(len(data.train) / config.batch),
        trained=start.trained,
        draw=start.draw,
        why=start.why,
        reference=frozen(model) if task.refers else None,
    )
    if resume:
        folder.restore(run.state)
    folder.note(status="running", precision=precision, processes=team.count, **facts_of(run, sides), **adapted)
    return run


def facts_of(run: FinetuneRun, sides: Mapping[str, Sequence[EncodedExample]]) -> dict[str, Any]:
    """What manifest.json holds about the files, and about what read them."""
    data = run.data
    cut = {side: sum(any(part.cut for part in parts) for _, parts in some) for side, some in sides.items()}
    return {
        "versions": {"bothways": __version__, "torch": torch.__version__},
        "code": [str(file.resolve()) for file in run.config.code],
        "columns": str(data.columns),
        "roles": dict(data.columns.names),
        "label_names": list(run.config.label_names),
        "examples": {
            "train": len(data.train),
            "dev": len(data.dev),
            "test": len(data.test),
            "dev_cut_from_train": data.held,
        },
        "truncated": {**cut, "length": run.length},
        "lengths": by_length(np.array([len(part) for parts in run.parts for part in parts])),
        "skipped": data.skip.found if isinstance(data.skip, Skipped) else [],
        "labels": list(data.head.labels),
        "tags": run.task.reading(data.head),
        **({"objective": {"name": run.trained.objective, "why": run.why}} if run.task.writes else {}),
        **({"conversation": marked(run.parts[0][0], run.tokenizer)} if run.task.chats else {}),
    }


def encode_sides(
    config: FinetuneConfig, data: Data, tokenizer: Tokenizer, *, length: int
) -> dict[str, list[EncodedExample]]:
    """{"train", "dev", "test": those of its examples that can be read}.

    Raises:
        DataError: one that cannot, unless such are skipped; or none are left.
    """
    found, task = {}, task_named(config.task)
    for side, what in SIDES.items():
        found[side] = list(
            encoded(
                task,
                getattr(data, side),
                tokenizer,
                data.head,
                length=length,
                skip=data.skip,
                taught=side == "train" or task.refers,
            )
        )
        if side != "test" or config.test:
            otherwise = ", or name a --dev file" if side == "dev" and not config.dev else ""
            enough(found[side], getattr(config, side) or config.train, what, data.skip, otherwise=otherwise)
        if side != "train" and found[side]:
            task.check_scored([example for example, _ in found[side]])
    return found
