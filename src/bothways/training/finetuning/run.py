"""Fine-tuning from a configuration to a saved model: epochs, the best of them kept, exact resume.

Everything random is a function of the seed and the step, so a run that was stopped goes on as if it never had been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bothways import __version__
from bothways.arguments import checked
from bothways.batch import Batch, Losses, Sample
from bothways.config import settled
from bothways.corpus.counts import by_length
from bothways.errors import DivergedError, ModelError, UsageError
from bothways.inference.engine import Engine
from bothways.machine import dtype_of, precision_for
from bothways.model import Abilities, Model, planned
from bothways.model.losses import plain_loss
from bothways.own import use
from bothways.statistics import bootstrap
from bothways.tasks import task_named
from bothways.tasks.reading import EncodedExample, encoded, enough
from bothways.tasks.records import Skipped, check_roles
from bothways.tasks.task import Example, Task
from bothways.tasks.text2text import WritingTask
from bothways.text import Tokenizer
from bothways.training.finetuning.adapting import adapt, check_adapter
from bothways.training.finetuning.baselines import chosen_by_chance, remember, trained_on, worth
from bothways.training.finetuning.batches import batches_of
from bothways.training.finetuning.config import FinetuneConfig, rate_for
from bothways.training.finetuning.data import Data
from bothways.training.finetuning.dev_loss import dev_loss, with_answers
from bothways.training.finetuning.epochs import Course
from bothways.training.finetuning.layer_decay import optimiser
from bothways.training.finetuning.page import write_report
from bothways.training.finetuning.save import save_model
from bothways.training.finetuning.start import begin, begin_writing, spread
from bothways.training.finetuning.thresholds import best_thresholds
from bothways.training.finetuning.tuned import Tuned, measure
from bothways.training.finetuning.writing import Draw
from bothways.training.fit import Say, Show
from bothways.training.loop import loss_names
from bothways.training.processes import Processes, processes
from bothways.training.run_folder import RunFolder
from bothways.training.signals import signals
from bothways.training.state import State, checkpoints, load_state, load_weights
from bothways.training.tracking import tracked
from bothways.training.weights import Replicated

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
    draw: Draw | None = None
    why: str = ""

    @property
    def total(self) -> int:
        """Steps of all epochs."""
        return self.steps * self.config.epochs

    @property
    def tuned(self) -> Tuned:
        """The model as it is, ready to predict."""
        head = self.data.head
        engine = Engine(self.model, self.tokenizer, self.trained)
        return Tuned(self.task, engine, head, self.length)

    def drawn(self, epoch: int, number: int, progress: float) -> list[Sample]:
        """The samples of a training example in an epoch."""
        parts = self.parts[number]
        return self.draw(parts, epoch, number, progress) if self.draw else parts


@settled(FinetuneConfig)
@checked
def finetune(
    config: FinetuneConfig,
    *,
    resume: bool = False,
    device: torch.device | str | None = None,
    track: str | None = None,
    show: Show = lambda line: None,
    say: Say = lambda text: None,
) -> Path:
    """Trains, keeps the epoch that is best on the dev examples, saves and evaluates it; returns the run's folder.

    The settings are a record or its fields: finetune("runs/first", train="train.csv", task="classify").
    On the first process `show` is handed every line of metrics.jsonl as it is written, and `say` what is being done
    before and after. Processes that torchrun started share out the examples of every step, and what is predicted.
    It computes on `device`, "cpu", "cuda" or "cuda:1"; left out, on a GPU when there is one. `track`, "tensorboard" or
    "trackio", has the figures sent there too (training/tracking.py).

    Raises:
        BothwaysError: whatever a user can cause.
        Stopped: SIGTERM or Ctrl-C came; everything is saved.
    """
    settings = config.model_dump(mode="json")
    with (
        processes(device=device) as team,
        signals() as stop,
        tracked(track if team.first else None, config.out, settings, show=show, resume=resume) as show,
    ):
        if not team.first:
            show, say = (lambda line: None), (lambda text: None)
        say("reading the records and the model")
        run = set_up(config, team, resume=resume)
        if run.why:
            say(f"taught by {run.trained.objective}: {run.why}")
        try:
            best = _fit(run, stop, show)
        except DivergedError:
            raise diverged(run.state.step, rate_for(config, run.model.config.width)) from None
        say("saving the best epoch, and measuring it")
        _finish(run, best, show)
    return config.out


def diverged(step: int, rate: float) -> DivergedError:
    """What is said where training came to nothing at a learning rate."""
    return DivergedError(
        "the loss or its gradient was not finite in several steps in a row, the last of them step "
        f"{step}. Begin again with a lower rate than {rate:g}: --set learning_rate=..., and another --out"
    )


def set_up(config: FinetuneConfig, team: Processes, *, resume: bool) -> FinetuneRun:
    """Reads the data and the model, and puts the last checkpoint back; refuses before anything is computed."""
    use(config.code)
    check_adapter(config)
    task, folder = task_named(config.task), RunFolder(config.out, writes=team.first)
    if resume and folder.config(FinetuneConfig).model_copy(update={"out": config.out}) != config:
        raise UsageError(f"{config.out} was started with other settings: {folder.path / 'config.yaml'} has them")
    if not config.code:
        check_roles(config.columns)  # before the model is read
    start = begin_writing(config, task) if isinstance(task, WritingTask) else begin(config, task)
    data, model, tokenizer, length = start.data, start.model, start.tokenizer, start.length
    if team.count > 1 and task.compares(data.head):
        raise UsageError(
            f"the loss of {task.name} compares the examples of a step with each other, so that {team.count} processes "
            "cannot share them out: leave --processes out, or do not start it by torchrun"
        )
    adapted = None
    if config.adapter:
        adapted = adapt(config, model, tokenizer=tokenizer, trained=start.trained)
    else:
        planned(model.state_dict(), config=model.config, vocabulary=tokenizer.vocabulary, trained=start.trained)
    sides = encode_sides(config, data, tokenizer, length=length)
    training, dev, test = ([example for example, _ in sides[side]] for side in SIDES)
    data = replace(data, train=training, dev=dev, test=test)
    if not resume:
        folder.create(config)
        team.wait()  # a run that is there already is noticed by all
    if team.first:
        remember(folder.path, data.train if config.dev else [*data.train, *data.dev])
    model = model.to(team.device)
    precision = precision_for(config.precision, device=team.device)
    weights = Replicated(model, dtype_of(precision))
    run = FinetuneRun(
        config=config,
        task=task,
        data=data,
        tokenizer=tokenizer,
        model=model,
        state=State(weights, [optimiser(config, weights, layers=model.config.layers, width=model.config.width)]),
        folder=folder,
        team=team,
        parts=[parts for _, parts in sides["train"]],
        dev=spread(sides["dev"], config.dev_generated) if task.writes else sides["dev"],
        test=sides["test"],
        length=length,
        steps=math.ceil(len(data.train) / config.batch),
        trained=start.trained,
        draw=start.draw,
        why=start.why,
    )
    if resume:
        found = checkpoints(folder.checkpoints)
        if found:
            load_state(run.state, found[-1])
        folder.cut(run.state.step if found else -1)
    facts = {**facts_of(run, sides), **({"adapter": adapted} if adapted else {})}
    folder.note(status="running", precision=precision, processes=team.count, **facts)
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
                taught=side == "train",
            )
        )
        if side != "test" or config.test:
            otherwise = ", or name a --dev file" if side == "dev" and not config.dev else ""
            enough(found[side], getattr(config, side) or config.train, what, data.skip, otherwise=otherwise)
    return found


LossOf = Callable[[Batch, torch.Generator], Losses]
"""What a batch loses; nothing in it is random but the dropout."""


def losses_of(model: Model, state: State) -> LossOf:
    """The plain loss of a model."""
    return state.weights.around(lambda batch, generator: plain_loss(model, batch))


def look_of(run: FinetuneRun, losses: LossOf) -> Callable[[], dict[str, Any]]:
    """What gives the loss and the scores on the dev examples, as the model is then."""
    answers = with_answers(run.tuned, run.data.dev)
    if run.draw:  # the same in every epoch
        answers = [run.draw(some, run.config.epochs, number, 1.0) for number, some in enumerate(answers)]
    loss_of_dev = partial(
        dev_loss,
        lambda batch: losses(batch, torch.Generator()),
        answers,
        at_once=run.config.batch,
        device=run.model.table.device,
    )
    return lambda: {"loss": loss_of_dev(), "scores": measure(run.tuned, run.dev, run.team)[0]}


def _fit(run: FinetuneRun, stop: Callable[[], int], show: Show) -> int:
    """Trains to the end, or until patience ends; the step of the best epoch."""
    losses = losses_of(run.model, run.state)
    drawn = (run.drawn(0, number, 0.0) for number in range(len(run.parts)))
    course = Course(
        config=run.config,
        model=run.model,
        state=run.state,
        folder=run.folder,
        team=run.team,
        steps=run.steps,
        losses=losses,
        names=loss_names(run.model, (target.name for some in drawn for one in some for target in one.targets)),
        batches=batches_of(run),
        examples=partial(_examples, run),
        look=look_of(run, losses),
    )
    return course.fit(stop, show)


def _examples(run: FinetuneRun, step: int) -> int:
    """How many a step reads: the last of an epoch may be smaller."""
    return min(run.config.batch, len(run.parts) - step % run.steps * run.config.batch)


def _finish(run: FinetuneRun, best: int, show: Show) -> None:
    """Saves the best epoch's model, and asks it about the test examples."""
    found = next((path for path in checkpoints(run.folder.checkpoints) if path.name == f"step-{best}"), None)
    if found is None:
        raise ModelError(f"{run.folder.checkpoints}: the checkpoint of the best epoch, step-{best}, is not there")
    weights = load_weights(found) if run.team.first else {}
    looks = [line for line in run.folder.lines() if line["kind"] == "validation" and line["step"] == best]
    load = partial(Tuned.load, run.config.out, device=run.model.table.device)
    dev, shape = looks[-1]["scores"], run.model.config
    head, write = run.data.head, partial(save_model, run.config, weights, shape, run.tokenizer, length=run.length)

    def save(trained: Abilities) -> None:
        run.team.once(lambda: write(trained, dev=dev))

    save(run.trained)
    if run.config.thresholds == "tuned":
        _, predictions = measure(load(), run.dev, run.team)
        head = replace(head, thresholds=best_thresholds(run.data.dev, predictions, head))
        save(Abilities.of_heads(head))
        dev, _ = measure(load(), run.dev, run.team)
        save(Abilities.of_heads(head))  # its card has these scores
        run.folder.note(thresholds=list(head.thresholds or ()))
    run.folder.note(best={"epoch": best // run.steps, "step": best, "scores": dev})
    judged = judge(run, load(), seen=run.config.out)
    if run.test:
        line = {"kind": "test", "step": run.state.step, "scores": judged.scores}
        run.folder.append(line)
        run.folder.note(test=judged.scores, test_intervals=judged.intervals)
        show(line)
    run.folder.note(status="done", **judged.worth)
    report = partial(write_report, run.config.out, run.task, judged.examples, judged.predictions, head)
    run.team.once(lambda: report(where=judged.where))


@dataclass(frozen=True, slots=True)
class Judged:
    """What a finished model says of the test examples, or of dev where there are none.

    where      "test" or "dev"
    intervals  {metric: the ends of its interval}; None on dev
    worth      as `worth` says it, with what texts of dev and test were trained on
    """

    where: str
    examples: list[Example]
    predictions: list[dict[str, Any]]
    scores: dict[str, float]
    intervals: dict[str, Any] | None
    worth: dict[str, Any]


def judge(run: FinetuneRun, tuned: Tuned, *, seen: Path) -> Judged:
    """Asks a finished model; `seen` is the folder that remembers which texts it was trained on."""
    measured, where = (run.test, "test") if run.test else (run.dev, "dev")
    examples = [example for example, _ in measured]
    scores, predictions = measure(tuned, measured, run.team)
    found = worth(run.task, examples, predictions, tuned.head)
    found["warnings"] += chosen_by_chance(run.data.held)
    for side in ("dev", "test"):
        if getattr(run.config, side):
            found["warnings"] += trained_on(seen, getattr(run.data, side), where=f"{side} texts")
    intervals = bootstrap(run.task.scores_of(examples, predictions, tuned.head), len(examples)) if run.test else None
    return Judged(where, examples, predictions, scores, intervals, found)
