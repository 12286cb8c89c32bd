"""A run of several tasks as it is set up: each task a run of its own (`run.FinetuneRun`) over the one model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from bothways import __version__
from bothways.errors import UsageError
from bothways.machine import dtype_of, precision_for
from bothways.model import Abilities, Model, planned, read_body
from bothways.own import use
from bothways.tasks import TASKS, task_named
from bothways.tasks.records import check_roles
from bothways.text import Tokenizer
from bothways.training.finetuning.baselines import remember
from bothways.training.finetuning.data import Data, read_data
from bothways.training.finetuning.layer_decay import optimiser
from bothways.training.finetuning.mixing import Mixing
from bothways.training.finetuning.run import SIDES, FinetuneRun, encode_sides, facts_of
from bothways.training.finetuning.save import find_body
from bothways.training.finetuning.several_config import OneTask, SeveralConfig, folder_of_task
from bothways.training.finetuning.start import LONGEST
from bothways.training.finetuning.teachers import Teacher, check_beside, teacher_for
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder
from bothways.training.state import State, checkpoints, load_state
from bothways.training.weights import Replicated

WRITES = frozenset(name for name, task in TASKS.items() if task.writes)
"""Tasks that write, which cannot yet be taught beside others."""


@dataclass(slots=True)
class SeveralRun:
    """What a run of several tasks holds while it goes on.

    parts    {name: the task, as a run of its own over the one model}, in the order of the settings
    teachers {name: what its teacher predicts for the training examples}, of the tasks that have one
    present  the names of the tasks that the step at hand has rows of
    """

    config: SeveralConfig
    parts: dict[str, FinetuneRun]
    tokenizer: Tokenizer
    model: Model
    state: State
    folder: RunFolder
    team: Processes
    length: int
    teachers: dict[str, Teacher] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)

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


def set_up_several(config: SeveralConfig, team: Processes, *, resume: bool) -> SeveralRun:
    """Reads the data of all tasks and the model, and puts the last checkpoint back; refuses before anything is
    computed."""
    use(config.code)
    folder = RunFolder(config.out, writes=team.first)
    if resume and folder.config(SeveralConfig).model_copy(update={"out": config.out}) != config:
        raise UsageError(f"{config.out} was started with other settings: {folder.path / 'config.yaml'} has them")
    body, reads = find_body(config.model, config.reads)
    data = {one.name: _data(config, one, reads) for one in config.tasks}
    tokenizer = Tokenizer.load(body)
    model = read_body(body, *(one.head for one in data.values()), dropout=config.dropout, seed=config.seed)
    for one in config.tasks:
        module: Any = model.head(one.name)
        task_named(one.task).prepare(module, data[one.name].train)
        module.smoothing = one.label_smoothing
    trained = Abilities.of_heads(*(one.head for one in data.values()))
    planned(model.state_dict(), config=model.config, vocabulary=tokenizer.vocabulary, trained=trained)
    length = min(config.length or LONGEST, model.config.length)
    if config.length and config.length > model.config.length:
        raise UsageError(f"length {config.length} is more than the model reads ({model.config.length})")
    sides = {one.name: encode_sides(config.of(one), data[one.name], tokenizer, length=length) for one in config.tasks}
    if not resume:
        folder.create(config)
        team.wait()  # a run that is there already is noticed by all
    model = model.to(team.device)
    precision = precision_for(config.precision, device=team.device)
    weights = Replicated(model, dtype_of(precision))
    made = optimiser(config, weights, layers=model.config.layers, width=model.config.width)
    run = SeveralRun(config, {}, tokenizer, model, State(weights, [made]), folder, team, length)
    for one in config.tasks:
        part = run.parts[one.name] = _part(run, one, data[one.name], sides[one.name])
        if one.teacher:
            own = folder_of_task(folder.path, one.name)
            head, examples = part.data.head, part.data.train
            asked = teacher_for(one.teacher, head, examples, part.parts, folder=own, again=resume, team=team)
            run.teachers[one.name] = asked
    _leave_idle_heads(made, weights, run.present)
    if resume:
        found = checkpoints(folder.checkpoints)
        if found:
            load_state(run.state, found[-1])
        folder.cut(run.state.step if found else -1)
    folder.note(status="running", precision=precision, processes=team.count, **_facts(run, sides))
    return run


def _data(config: SeveralConfig, one: OneTask, reads: str) -> Data:
    """The examples of one task; its head has the task's name.

    Raises:
        BothwaysError: as `read_data`, with the task's name before it.
        UsageError: a task that cannot be taught beside others.
    """
    if one.task in WRITES:
        others = ", ".join(name for name in TASKS if name not in WRITES)
        raise UsageError(f"{one.name}: {one.task} cannot be taught beside other tasks; those that can: {others}")
    task_named(one.task)
    if not config.code:
        check_roles(one.columns)
    data = read_data(config.of(one), reads=reads)
    head = replace(data.head, name=one.name)
    for what, beside in {"teacher": one.teacher, "run to compare with": one.compare}.items():
        if beside:
            check_beside(beside, head, what=what)
    return replace(data, head=head)


def _part(run: SeveralRun, one: OneTask, data: Data, sides: dict[str, Any]) -> FinetuneRun:
    """A task as a run of its own, over the model of all."""
    config = run.config.of(one)
    training, dev, test = ([example for example, _ in sides[side]] for side in SIDES)
    data = replace(data, train=training, dev=dev, test=test)
    if run.team.first:
        remember(folder_of_task(run.folder.path, one.name), data.train if config.dev else [*data.train, *data.dev])
    return FinetuneRun(
        config=config,
        task=task_named(one.task),
        data=data,
        tokenizer=run.tokenizer,
        model=run.model,
        state=run.state,
        folder=run.folder,
        team=run.team,
        parts=[parts for _, parts in sides["train"]],
        dev=sides["dev"],
        test=sides["test"],
        length=run.length,
        steps=-(-len(data.train) // config.batch),
        trained=Abilities.of_heads(data.head),
    )


def _facts(run: SeveralRun, sides: dict[str, Any]) -> dict[str, Any]:
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


def _leave_idle_heads(made: torch.optim.Optimizer, weights: Replicated, present: set[str]) -> None:
    """A step without rows of a task leaves its head as it is: no decay, and no momentum of earlier steps."""
    heads = {name: weight for name, weight in weights.master.items() if name.startswith("heads.")}

    def hide(*ignored: object) -> None:
        for name, weight in heads.items():
            if name.split(".")[1] not in present:
                weight.grad = None

    def show(*ignored: object) -> None:
        for name, weight in heads.items():
            weight.grad = weights.gradients[name]

    made.register_step_pre_hook(hide)
    made.register_step_post_hook(show)
