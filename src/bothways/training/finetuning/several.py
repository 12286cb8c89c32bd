"""Several tasks at once: one body, a head for each task, and every batch of rows of all of them.

MT-DNN (Liu et al. 2019, section 3) shares the body among tasks and gives each a head; BAM (Clark et al. 2019) draws the
rows by |D|^0.75 and lets each task learn from a teacher of its own, less and less (`teachers`). Each task is a run of
one task (`run.FinetuneRun`) over the one model; what is added here is the mixing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bothways import __version__
from bothways.arguments import checked
from bothways.batch import Batch, Sample
from bothways.config import settled
from bothways.errors import DivergedError, UsageError
from bothways.machine import device_of, dtype_of, precision_for
from bothways.model import Abilities, Model, planned, read_body
from bothways.own import use
from bothways.tasks import task_named
from bothways.tasks.packing import pack
from bothways.tasks.records import check_roles
from bothways.text import Tokenizer
from bothways.training.finetuning.baselines import remember
from bothways.training.finetuning.config import rate_for
from bothways.training.finetuning.data import Data, read_data
from bothways.training.finetuning.epochs import Course
from bothways.training.finetuning.layer_decay import optimiser
from bothways.training.finetuning.mixing import Mixing
from bothways.training.finetuning.run import (
    LONGEST,
    SIDES,
    TOKENS_AT_ONCE,
    FinetuneRun,
    encode_sides,
    example_weights,
    facts_of,
    look_of,
    losses_of,
    weighted,
)
from bothways.training.finetuning.save import find_body
from bothways.training.finetuning.several_config import MEAN, OneTask, SeveralConfig, folder_of_task
from bothways.training.finetuning.several_end import finish
from bothways.training.fit import Say, Show
from bothways.training.loop import loss_names
from bothways.training.run_folder import RunFolder
from bothways.training.signals import signals
from bothways.training.state import State, checkpoints, load_state
from bothways.training.tracking import tracked
from bothways.training.weights import Replicated

WRITES = frozenset({"text2text", "summarise", "translate", "question-generation"})
"""Tasks that write, which cannot yet be taught beside others."""


@dataclass(slots=True)
class SeveralRun:
    """What a run of several tasks holds while it goes on.

    parts    {name: the task, as a run of its own over the one model}, in the order of the settings
    present  the names of the tasks that the step at hand has rows of
    """

    config: SeveralConfig
    parts: dict[str, FinetuneRun]
    tokenizer: Tokenizer
    model: Model
    state: State
    folder: RunFolder
    length: int
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


@settled(SeveralConfig)
@checked
def finetune_several(
    config: SeveralConfig,
    *,
    resume: bool = False,
    device: torch.device | str | None = None,
    track: str | None = None,
    show: Show = lambda line: None,
    say: Say = lambda text: None,
) -> Path:
    """As `finetune`, of several tasks at once: the epoch is kept that is best by the mean of the tasks' own metrics.

    The settings are a record or its fields: finetune_several("runs/first", tasks=[{"name": "a", "train": ...}, ...]).

    Raises:
        BothwaysError: whatever a user can cause.
        Stopped: SIGTERM or Ctrl-C came; everything is saved.
    """
    settings = config.model_dump(mode="json")
    with signals() as stop, tracked(track, config.out, settings, show=show, resume=resume) as show:
        say("reading the records and the model")
        run = set_up_several(config, resume=resume, device=device)
        try:
            best = course_of(run).fit(stop, show)
        except DivergedError:
            raise DivergedError(
                f"the loss or its gradient was not finite in several steps in a row, the last of them step "
                f"{run.state.step}. Begin again with a lower rate than {rate_for(config, run.model.config.width):g}: "
                "--set learning_rate=..., and another --out"
            ) from None
        say("saving the best epoch, and measuring it")
        finish(run.config, run.parts, best, steps=run.mixing.steps, show=show)
    return config.out


def set_up_several(config: SeveralConfig, *, resume: bool, device: torch.device | str | None = None) -> SeveralRun:
    """Reads the data of all tasks and the model, and puts the last checkpoint back; refuses before anything is
    computed."""
    place = device_of(device)
    use(config.code)
    folder = RunFolder(config.out)
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
    model = model.to(place)
    precision = precision_for(config.precision, device=place)
    weights = Replicated(model, dtype_of(precision))
    made = optimiser(config, weights, layers=model.config.layers, width=model.config.width)
    run = SeveralRun(config, {}, tokenizer, model, State(weights, [made]), folder, length)
    for one in config.tasks:
        run.parts[one.name] = _part(run, one, data[one.name], sides[one.name])
    _leave_idle_heads(made, weights, run.present)
    if resume:
        found = checkpoints(folder.checkpoints)
        if found:
            load_state(run.state, found[-1])
        folder.cut(run.state.step if found else -1)
    folder.note(status="running", precision=precision, **_facts(run, sides))
    return run


def _data(config: SeveralConfig, one: OneTask, reads: str) -> Data:
    """The examples of one task; its head has the task's name.

    Raises:
        BothwaysError: as `read_data`, with the task's name before it.
        UsageError: a task that cannot be taught beside others.
    """
    if one.task in WRITES:
        others = "classify, regress, tag, intent, relate, answer, choose, embed"
        raise UsageError(f"{one.name}: {one.task} cannot be taught beside other tasks; those that can: {others}")
    task_named(one.task)
    if not config.code:
        check_roles(one.columns)
    data = read_data(config.of(one), reads=reads)
    return replace(data, head=replace(data.head, name=one.name))


def _part(run: SeveralRun, one: OneTask, data: Data, sides: dict[str, Any]) -> FinetuneRun:
    """A task as a run of its own, over the model of all."""
    config = run.config.of(one)
    training, dev, test = ([example for example, _ in sides[side]] for side in SIDES)
    data = replace(data, train=training, dev=dev, test=test)
    remember(folder_of_task(run.folder.path, one.name), data.train if config.dev else [*data.train, *data.dev])
    return FinetuneRun(
        config=config,
        task=task_named(one.task),
        data=data,
        tokenizer=run.tokenizer,
        model=run.model,
        state=run.state,
        folder=run.folder,
        parts=[parts for _, parts in sides["train"]],
        dev=sides["dev"],
        test=sides["test"],
        length=run.length,
        steps=-(-len(data.train) // config.batch),
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


def course_of(run: SeveralRun) -> Course:
    """The epochs of all tasks together."""
    losses = losses_of(run.model, run.state)
    looks = {name: look_of(part, losses) for name, part in run.parts.items()}
    samples = (one for part in run.parts.values() for some in part.parts for one in some)
    mixing = run.mixing

    def look() -> dict[str, Any]:
        """The tasks' own metrics behind their mean; each task's loss and all of its scores beside them."""
        found = {name: one() for name, one in looks.items()}
        own = {name: next(iter(one["scores"].values())) for name, one in found.items()}
        known = [one["loss"] for one in found.values() if one["loss"] is not None]
        loss = float(np.mean(known)) if known else None
        return {"loss": loss, "scores": {MEAN: float(np.mean([*own.values()])), **own}, "tasks": found}

    return Course(
        config=run.config,
        model=run.model,
        state=run.state,
        folder=run.folder,
        steps=mixing.steps,
        losses=losses,
        names=loss_names(run.model, (target.name for one in samples for target in one.targets)),
        batches=batches_of_several(run),
        examples=lambda step: len(mixing.of_step(step)),
        look=look,
    )


def batches_of_several(run: SeveralRun) -> Callable[[int, float], list[Batch]]:
    """The micro-batches of a step: rows of several tasks; examples that a loss compares stay together."""
    mixing, parts, shape, notes = run.mixing, list(run.parts.values()), run.model.config, run.state.notes
    device = run.model.table.device
    weights = [_evened(part) for part in parts]
    together = [part.task.compares(part.data.head) for part in parts]

    def of_step(step: int, progress: float) -> list[Batch]:
        pairs = mixing.of_step(step)
        run.present.clear()
        run.present.update(parts[task].data.head.name for task, _ in pairs)
        made: list[list[tuple[int, int]]] = [[pair for pair in pairs if pair[0] == i] for i in np.flatnonzero(together)]
        tokens = TOKENS_AT_ONCE
        for task, example in pairs:
            if together[task]:
                continue
            size = sum(len(part) for part in parts[task].parts[example])
            if tokens + size > TOKENS_AT_ONCE:
                made.append([])
                tokens = 0
            made[-1].append((task, example))
            tokens += size
        laid = [[_weighing(parts[t], i, float(weights[t][i])) for t, i in some] for some in made]
        batches = [_batch(some).to(device) for some in laid if some]
        flops = [one.token_count * shape.flops_per_token(length=one.tokens.shape[1], predicted=0.0) for one in batches]
        notes["flops"] = notes.get("flops", 0.0) + sum(flops)
        return batches

    return of_step


def _weighing(part: FinetuneRun, example: int, weight: float) -> list[Sample]:
    """The samples of an example that weighs so much; the loss of spans takes it from the labels."""
    samples = [weighted(sample, weight) for sample in part.parts[example]]
    if part.data.head.head != "span":
        return samples
    return [
        replace(one, targets=tuple(replace(target, labels=target.labels * weight) for target in one.targets))
        for one in samples
    ]


def _batch(examples: Sequence[Sequence[Sample]]) -> Batch:
    """Some examples, each with its samples, as a batch."""
    owner = np.repeat(np.arange(len(examples)), [len(one) for one in examples])
    return pack([sample for one in examples for sample in one], owner).batch


def _evened(part: FinetuneRun) -> np.ndarray:
    """float64 [E]: what the targets of every example are multiplied by, so that an example of each task weighs 1 on
    average: a text of thirty tags would else count as much as thirty texts with a label."""
    weights = example_weights(part)
    own = [
        sum(float(np.sum(np.broadcast_to(target.weight, len(target.at)))) for one in some for target in one.targets)
        for some in part.parts
    ]
    return np.asarray(weights * len(own) / float(np.dot(weights, own)))
