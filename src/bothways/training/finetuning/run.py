"""Fine-tuning from a configuration to a saved model: epochs, the best of them kept, exact resume.

Everything random is a function of the seed and the step, so a run that was stopped goes on as if it never had been.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bothways.arguments import checked
from bothways.batch import Batch, Losses
from bothways.config import settled
from bothways.errors import DivergedError
from bothways.model import Abilities, Model
from bothways.model.losses import plain_loss
from bothways.statistics import bootstrap
from bothways.tasks.task import Example
from bothways.training.finetuning.baselines import chosen_by_chance, trained_on, worth
from bothways.training.finetuning.batches import batches_of
from bothways.training.finetuning.config import FinetuneConfig, rate_for
from bothways.training.finetuning.dev_loss import dev_loss, with_answers
from bothways.training.finetuning.epochs import EpochLoop
from bothways.training.finetuning.grpo import GrpoTraining
from bothways.training.finetuning.page import write_report
from bothways.training.finetuning.preferences import PreferenceTraining
from bothways.training.finetuning.save import save_model
from bothways.training.finetuning.setup import FinetuneRun, set_up
from bothways.training.finetuning.teaching import TrainingMethod, epoch_loop_by, finish_by
from bothways.training.finetuning.thresholds import best_thresholds
from bothways.training.finetuning.tuned import Tuned, measure
from bothways.training.finetuning.zero_shot import measure_held_out
from bothways.training.fit import Say, Show
from bothways.training.loop import loss_names
from bothways.training.started import started
from bothways.training.state import State


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
        Stopped: SIGTERM or Ctrl-C came; what was learned is saved.
    """
    frame = started("finetune", config, resume=resume, device=device, track=track, show=show, say=say)
    with frame as (team, show, say):
        say("reading the records and the model")
        run = set_up(config, team, resume=resume)
        if run.why:
            say(f"taught by {run.trained.objective}: {run.why}")
        run.model.eval()
        measure_held_out(run, run.tuned, "before")
        teaching = teaching_of(run, again=resume)
        try:
            best = (epoch_loop_by(teaching) if teaching else epoch_loop_of(run)).fit(show)
        except DivergedError:
            raise diverged(run.state.step, rate_for(config, run.model.config.width)) from None
        say("saving the best epoch, and measuring it")
        finish_by(teaching, best, show) if teaching else _finish(run, best, show)
    return config.out


def diverged(step: int, rate: float) -> DivergedError:
    """What is said where training came to nothing at a learning rate."""
    return DivergedError(
        "the loss or its gradient was not finite in several steps in a row, the last of them step "
        f"{step}. Begin again with a lower rate than {rate:g}: --set learning_rate=..., and another --out"
    )


LossOf = Callable[[Batch, torch.Generator], Losses]
"""What a batch loses; nothing in it is random but the dropout."""


def losses_of(model: Model, state: State) -> LossOf:
    """The plain loss of a model."""
    return state.weights.around(lambda batch, generator: plain_loss(model, batch))


def dev_evaluation(run: FinetuneRun, losses: LossOf) -> Callable[[], dict[str, Any]]:
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


def teaching_of(run: FinetuneRun, *, again: bool) -> TrainingMethod | None:
    """How a model is taught beside a reference; None: by the likelihood of right answers."""
    if run.reference is None:
        return None
    return GrpoTraining.of(run) if run.config.task == "grpo" else PreferenceTraining.of(run, again=again)


def epoch_loop_of(run: FinetuneRun) -> EpochLoop:
    """The epochs of a run whose examples have right answers."""
    losses = losses_of(run.model, run.state)
    drawn = (run.drawn(0, number, 0.0) for number in range(len(run.parts)))
    return EpochLoop(
        config=run.config,
        model=run.model,
        state=run.state,
        folder=run.folder,
        team=run.team,
        steps=run.steps,
        losses=losses,
        names=loss_names(run.model, (target.name for some in drawn for one in some for target in one.targets)),
        batches=batches_of(run),
        examples=run.count_of,
        evaluate=dev_evaluation(run, losses),
        count=run.count_of if run.config.class_weights == "balanced" else None,
    )


def _finish(run: FinetuneRun, best: int, show: Show) -> None:
    """Saves the best epoch's model, and asks it about the test examples."""
    _, weights, best_line = run.folder.best(best)
    load = partial(Tuned.load, run.config.out, device=run.model.table.device, precision=run.folder.noted("precision"))
    dev, shape = best_line["scores"], run.model.config
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
    measure_held_out(run, load(), "after")
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
    found["warnings"] += chosen_by_chance(run.data.held) + run.state.left_out
    for side in ("dev", "test"):
        if getattr(run.config, side):
            found["warnings"] += trained_on(seen, getattr(run.data, side), where=f"{side} texts")
    intervals = bootstrap(run.task.scores_of(examples, predictions, tuned.head), len(examples)) if run.test else None
    return Judged(where, examples, predictions, scores, intervals, found)
