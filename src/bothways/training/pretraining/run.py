"""From a configuration to a trained, saved and reported model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bothways.arguments import checked
from bothways.batch import Batch, Losses
from bothways.config import settled
from bothways.errors import DivergedError
from bothways.model import Model
from bothways.model.losses import plain_loss
from bothways.training.evaluate import Score, bits_per_byte, evaluate_losses, evaluate_words
from bothways.training.fit import Say, Show, TrainLoop, again
from bothways.training.loop import Report
from bothways.training.pretraining.artifacts import begin, finish, keep
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.pace import UNKNOWN, mean_pace, timed_updates
from bothways.training.pretraining.setup import PretrainRun, set_up, total_steps
from bothways.training.schedule import decay_start
from bothways.training.started import started

MEASURED_STEPS, MEASURED_SECONDS = 20, 15.0
"""Of a budget in seconds, a twentieth of it where that is less: after both it becomes steps for the first time."""
NEAR = 0.02
"""Of its steps: what a budget in seconds may be off at a validation without becoming another number of steps."""
VALIDATING = 0.2
"""Of a budget in seconds, what validations may take: where they would take more, there are fewer."""
SAVE_WITHIN = 600.0
"""Seconds of training after which there is a checkpoint, however few steps they were."""


@settled(PretrainConfig)
@checked
def pretrain(
    config: PretrainConfig,
    *,
    resume: bool = False,
    device: torch.device | str | None = None,
    track: str | None = None,
    show: Show = lambda line: None,
    say: Say = lambda text: None,
) -> Path:
    """Trains, validates, saves, exports and reports; returns the run's folder, which `bothways.load` opens.

    The settings are a record or its fields: pretrain("shards", out="runs/first", training={"budget": "20min"}). On the
    first process `show` is handed every line of metrics.jsonl as it is written, and `say` what is being done before
    the first and after the last of them. With `resume`, the run in `config.out` goes on from its last
    checkpoint, bit for bit as if it had never stopped. It computes on `device`, "cpu", "cuda" or "cuda:1"; left
    out, on a GPU when there is one. `track`, "tensorboard" or "trackio", has the figures sent there too.

    Raises:
        BothwaysError: whatever a user can cause, each with its exit code (errors.py).
        Stopped: SIGTERM or Ctrl-C came; what was learned is saved.
    """
    frame = started("pretrain", config, resume=resume, device=device, track=track, show=show, say=say)
    with frame as (team, show, say):
        say(f"opening {config.shards}, building the model, measuring this machine")
        run = set_up(config, team, resume=resume)
        say("counting n-grams, to compare with")
        begin(run)
        if run.config.start and run.objective.encoder_decoder and run.state.step == 0:
            say(_fresh_loss(run))
        try:
            _fit(run, show)
        except DivergedError:
            run.folder.note(status="diverged")
            raise
        say("saving the model, drawing samples, writing the report")
        finish(run)
        team.wait()
        return run.folder.path


def _fit(run: PretrainRun, show: Show) -> None:
    training = run.config.training
    go_on = again("pretrain", run.config.out, run.team)
    fit = TrainLoop(run.work, run.state, training, run.folder, show, partial(save, run), go_on)
    with fit.saving():
        _train(run, fit)


def _train(run: PretrainRun, fit: TrainLoop) -> None:
    if run.state.step == 0:
        _validate(run, fit)
    _settle(run, run.state.notes.get("total") or total_steps(run) or _measure(run, fit))
    if run.state.step in _validations(run):
        _look(run, fit)  # a signal had ended it
    while run.state.step < run.state.notes["total"]:
        _train_on(run, fit)


def _train_on(run: PretrainRun, fit: TrainLoop) -> None:
    """To the end, or to a validation after which a budget in seconds is another number of steps."""
    training, total, validations = run.config.training, run.state.notes["total"], _validations(run)
    saves = validations | {decay_start(training.schedule, total), total}
    for report in _steps(run, total, fit):
        if report.step in validations:
            _look(run, fit)
            _settle(run, _steps_at_this_pace(run, total))
        if report.step in saves or report.step % training.save_every == 0:
            save(run)
        _save_in_time(run)
        if run.state.notes["total"] != total:
            return


def _settle(run: PretrainRun, total: int) -> None:
    """Writes down how many steps the run has."""
    run.state.notes |= {"total": total, "budget": run.config.training.budget.model_dump()}
    run.folder.note(steps=total)


def _validations(run: PretrainRun) -> set[int]:
    """The steps after which the model is validated; where their number has changed, none soon after the last."""
    training, total = run.config.training, run.state.notes["total"]
    share = _validate_every(run)
    every = share * total
    after = run.state.notes["validated"] + every / 2 if training.budget.seconds else -1.0
    even = (round(i * every) for i in range(1, math.ceil(1 / share)))
    return {step for step in even if step > after} | {total} | training.kept_steps


def _steps_at_this_pace(run: PretrainRun, total: int) -> int:
    """The steps that a budget in seconds has at the pace so far, with all of the decay that was planned; else `total`.

    A machine that others use, too, is not always as fast as in the first seconds. Asked before the learning rate falls:
    until then nothing depends on the number but a masking rate that falls. In phases (`causal -> mlm`) which of them it
    is does, so the number stays.
    """
    training, step = run.config.training, run.state.step
    seconds, start = training.budget.seconds, decay_start(training.schedule, total)
    if seconds is None or step >= start or len(run.cost.rates) > 1:
        return total
    pace = run.team.most(run.seconds) / step
    found = max(round((seconds - _validation_seconds(run)) / pace), step + total - start)
    return total if abs(found - total) <= NEAR * total else found


def _look(run: PretrainRun, fit: TrainLoop) -> None:
    """Validates the model as it is, and keeps it where that was asked for; what is done already is not done again."""
    if not run.state.validated:
        _validate(run, fit)
    if run.state.step in run.config.training.kept_steps:
        keep(run)


def _fresh_loss(run: PretrainRun) -> str:
    """What an encoder-decoder gains by beginning with what another model has learned: cross-attention is new in any
    case, and a modern shape has norms that the other had not."""
    fresh = Model(run.model.config, seed=run.config.training.seed).to(run.team.device).eval()
    loss, _ = evaluate_losses(partial(plain_loss, fresh), run.validation)
    return f"before its first step a new model has a loss of {loss:.3f}; this one begins with {run.config.start}"


def _measure(run: PretrainRun, fit: TrainLoop) -> int:
    """Trains a few steps under the clock; how many steps make the budget, validations included?

    Whatever is measured is the slowest process's, so that all of them come to the same number.
    """
    seconds = run.config.training.budget.seconds
    assert seconds is not None
    taken: list[float] = []
    earlier = run.seconds  # of steps before a stop
    spent, started = earlier, time.perf_counter()
    with timed_updates(run.state.optimisers) as updates:
        for _ in _steps(run, UNKNOWN, fit):
            taken.append(time.perf_counter() - started)
            started += taken[-1]
            if run.state.step in run.config.training.kept_steps:
                _look(run, fit)
            spent = earlier + run.team.most(sum(taken))
            _save_in_time(run)
            enough = run.state.step >= MEASURED_STEPS and spent > min(MEASURED_SECONDS, seconds / 20)
            if enough or spent > seconds / 2:
                break
    run.state.notes["measured"] = run.state.step
    pace = run.team.most(mean_pace(taken, updates, run.cost))
    return run.state.step + max(1, int((seconds - spent - _validation_seconds(run)) / pace))


def _validation_seconds(run: PretrainRun) -> float:
    """Of all validations of the run, each as long as the last was on the slowest process."""
    count = len(run.config.training.kept_steps) + 1 / _validate_every(run)
    return count * run.team.most(run.state.notes["validation_seconds"])


def _validate_every(run: PretrainRun) -> float:
    """The share of a run between two validations."""
    training, seconds = run.config.training, run.config.training.budget.seconds
    one = run.team.most(run.state.notes["validation_seconds"]) if seconds else 0.0
    return min(1.0, max(training.validate_every, one / (VALIDATING * seconds) if seconds else 0.0))


def _steps(run: PretrainRun, total: int, fit: TrainLoop) -> Iterator[Report]:
    """The loop, with a line of metrics for every step."""

    def more(report: Report, took: float) -> dict[str, Any]:
        run.seconds += took
        known = total != UNKNOWN
        progress = report.step / total if known else 0.0
        return {
            **({} if known else {"steps": None, "progress": progress}),
            "flops": run.flops(),
            "seconds": round(run.seconds, 3),
            "losses": report.losses,
            "gradient_norm": report.gradient_norm,
            "useful_share": run.useful_share(run.cost.at(progress) / took),
        }

    yield from fit.steps(total, more)


def _save_in_time(run: PretrainRun) -> None:
    if run.team.most(run.seconds - run.state.notes.get("seconds", 0.0)) > SAVE_WITHIN:
        save(run)


def save(run: PretrainRun) -> None:
    """A checkpoint; keeps the last two, the best, and the last before the rate falls."""
    run.state.notes |= {"seconds": round(run.seconds, 3), "names": list(run.work.names)}
    run.folder.save(run.state)
    keep = {run.state.notes["best"]["step"]}
    if "total" in run.state.notes:
        keep.add(decay_start(run.config.training.schedule, run.state.notes["total"]))
    run.folder.prune(keep)
    run.team.wait()


def _validate(run: PretrainRun, fit: TrainLoop) -> None:
    """Validation loss of every objective, and the probes, as a line of metrics."""
    started = time.perf_counter()
    run.model.eval()
    score = _scoring(run)
    loss, losses = _held_out(run, score)
    answers, other = (
        {name: next(iter(score(batches).values())) for name, batches in probes.items()}
        for probes in (run.probes, run.general)
    )
    run.model.train()
    following, filling = answers.get("next"), answers.get("fill")
    size = run.shards.validation.bytes_a_prediction
    line = {
        "kind": "validation",
        "step": run.state.step,
        "tokens": run.state.tokens,
        "flops": run.flops(),
        "seconds": round(run.seconds, 3),
        "loss": loss,
        "losses": losses,
        "bits_per_byte": {"causal": bits_per_byte(following.nats, size)} if following else {},
        "fill_accuracy": filling.accuracy if filling else None,
        "next_accuracy": following.accuracy if following else None,
        **({"general": {name: found.nats for name, found in other.items()}} if other else {}),
    }
    best = run.state.notes.get("best", {"loss": math.nan})["loss"]
    if loss < best or math.isnan(best):
        run.state.notes["best"] = {"step": run.state.step, "loss": loss}
    run.state.notes |= {"validated": run.state.step, "validation_seconds": round(time.perf_counter() - started, 3)}
    fit.tell(line)


Scoring = Callable[[Sequence[Batch]], dict[str, Score]]


def _scoring(run: PretrainRun) -> Scoring:
    """Words of held-out batches, measured once though they are asked for twice."""
    whole, measured = run.state.weights.around(evaluate_words), dict[int, dict[str, Score]]()

    def score(batches: Sequence[Batch]) -> dict[str, Score]:
        if id(batches) not in measured:
            measured[id(batches)] = whole(run.model, batches)
        return measured[id(batches)]

    return score


def _held_out(run: PretrainRun, score: Scoring) -> tuple[float, dict[str, float]]:
    """What is minimised, and every objective's own loss, on held-out rows."""
    weighted = any(member.about.bound or member.names for member, _ in run.objective.leaves())
    if run.objective.loss or run.objective.heads or weighted:
        return evaluate_losses(partial(_drawn_alike, run), run.validation)
    # words are all that is predicted, and count alike
    losses = {name: found.nats for name, found in score(run.validation).items()}
    shares = run.objective.shares
    present = {name: share for name, share in shares.items() if name in losses}
    return sum(share * losses[name] for name, share in present.items()) / sum(present.values()), losses


def _drawn_alike(run: PretrainRun, batch: Batch) -> Losses:
    """The losses of a held-out batch, whose draws are the same whatever process computes them."""
    number = next(i for i, one in enumerate(run.validation) if one is batch)
    return run.work.losses(batch, torch.Generator(device=run.team.device).manual_seed(number))
