"""A run of several tasks as it is set up: each task a run of its own (`run.FinetuneRun`) over the one model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from bothways import __version__
from bothways.model import Abilities, Model
from bothways.own import use
from bothways.tasks import task_named
from bothways.text import Tokenizer
from bothways.training.finetuning.adapting import adapt, check_adapter
from bothways.training.finetuning.baselines import remember
from bothways.training.finetuning.layer_decay import state_for
from bothways.training.finetuning.mixing import Mixing
from bothways.training.finetuning.multitask_config import MultiTaskConfig, OneTask, folder_of_task
from bothways.training.finetuning.multitask_start import MultiTaskStart, begin_multitask
from bothways.training.finetuning.setup import SIDES, FinetuneRun, encode_sides, facts_of
from bothways.training.finetuning.start import spread
from bothways.training.finetuning.teachers import Teacher, teacher_for
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder
from bothways.training.state import State


@dataclass(slots=True)
class MultiTaskRun:
    """What a run of several tasks holds while it goes on.

    parts    {name: the task, as a run of its own over the one model}, in the order of the settings
    teachers {name: what its teacher predicts for the training examples}, of the tasks that have one
    """

    config: MultiTaskConfig
    parts: dict[str, FinetuneRun]
    tokenizer: Tokenizer
    model: Model
    state: State
    folder: RunFolder
    team: Processes
    length: int
    teachers: dict[str, Teacher] = field(default_factory=dict)

    @property
    def mixing(self) -> Mixing:
        """Which examples each step reads."""
        return Mixing(
            tuple(len(part.parts) for part in self.parts.values()),
            tuple(one.weight for one in self.config.tasks),
            self.config.size_exponent,
            self.config.batch,
            self.config.seed,
        )


def set_up_multitask(config: MultiTaskConfig, team: Processes, *, resume: bool) -> MultiTaskRun:
    """Reads the data of all tasks and the model, and puts the last checkpoint back; refuses before anything is
    computed."""
    use(config.code)
    check_adapter(config)
    folder = RunFolder(config.out, writes=team.first)
    if resume:
        folder.check_same(config)
    start = begin_multitask(config)
    data, model, tokenizer, length = start.data, start.model, start.tokenizer, start.length
    trained = Abilities.of_heads(*(one.head for one in data.values()), rule=model.rule.name)
    adapted = adapt(config, model, tokenizer=tokenizer, trained=trained)
    sides = {one.name: encode_sides(config.of(one), data[one.name], tokenizer, length=length) for one in config.tasks}
    if not resume:
        folder.create(config)
        team.wait()  # a run that is there already is noticed by all
    begun = folder.manifest().get("precision") if resume else None
    state, precision = state_for(config, model, device=team.device, begun=begun)
    run = MultiTaskRun(config, {}, tokenizer, model, state, folder, team, length)
    for one in config.tasks:
        part = run.parts[one.name] = _part(run, one, start, sides[one.name], again=resume)
        if one.teacher:
            own = folder_of_task(folder.path, one.name)
            head, examples = part.data.head, part.data.train
            asked = teacher_for(one.teacher, head, examples, part.parts, folder=own, again=resume, team=team)
            run.teachers[one.name] = asked
    if resume:
        folder.restore(run.state)
    folder.note(status="running", precision=precision, processes=team.count, **_facts(run, sides), **adapted)
    return run


def _part(run: MultiTaskRun, one: OneTask, start: MultiTaskStart, sides: dict[str, Any], *, again: bool) -> FinetuneRun:
    """A task as a run of its own, over the model of all."""
    config, task, data = run.config.of(one), task_named(one.task), start.data[one.name]
    training, dev, test = ([example for example, _ in sides[side]] for side in SIDES)
    data = replace(data, train=training, dev=dev, test=test)
    taught, parts = data.train if config.dev else [*data.train, *data.dev], [some for _, some in sides["train"]]
    own = folder_of_task(run.folder.path, one.name)
    remember(own, taught, parts, data.dev, again=again, writes=run.team.first)
    return FinetuneRun(
        config=config,
        task=task,
        data=data,
        tokenizer=run.tokenizer,
        model=run.model,
        state=run.state,
        folder=run.folder,
        team=run.team,
        parts=parts,
        dev=spread(sides["dev"], config.dev_generated) if task.writes else sides["dev"],
        test=sides["test"],
        length=run.length,
        steps=-(-len(data.train) // config.batch),
        trained=Abilities.of_heads(data.head, rule=run.model.rule.name),
        draw=start.draws.get(one.name),
        why=start.why.get(one.name, ""),
    )


def _facts(run: MultiTaskRun, sides: dict[str, Any]) -> dict[str, Any]:
    """What manifest.json holds: of each task what a run of it alone would note, and how often it is drawn."""
    shares = run.mixing.shares.tolist()
    tasks = {}
    for (name, part), one, share in zip(run.parts.items(), run.config.tasks, shares, strict=True):
        facts = facts_of(part, sides[name])
        facts = {key: value for key, value in facts.items() if key not in ("versions", "code")}
        files = {side: str(getattr(one, side).resolve()) for side in SIDES if getattr(one, side)}
        tasks[name] = {"task": one.task, "share": share, "files": files, **facts}
    return {
        "versions": {"bothways": __version__, "torch": torch.__version__},
        "code": [str(file.resolve()) for file in run.config.code],
        "tasks": tasks,
    }
