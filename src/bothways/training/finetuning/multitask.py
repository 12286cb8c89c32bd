"""Several tasks at once: one body, a head for each task, and every batch of rows of all of them.

MT-DNN (Liu et al. 2019, section 3) shares the body among tasks and gives each a head; BAM (Clark et al. 2019) draws the
rows by |D|^0.75 and lets each task learn from a teacher of its own, less and less (`teachers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bothways.arguments import checked
from bothways.config import settled
from bothways.errors import DivergedError
from bothways.training.finetuning.config import rate_for
from bothways.training.finetuning.epochs import EpochLoop
from bothways.training.finetuning.multitask_batches import multitask_batches
from bothways.training.finetuning.multitask_config import MultiTaskConfig
from bothways.training.finetuning.multitask_end import finish, with_mean
from bothways.training.finetuning.multitask_setup import MultiTaskRun, set_up_multitask
from bothways.training.finetuning.run import dev_evaluation, diverged, losses_of
from bothways.training.fit import Say, Show
from bothways.training.loop import loss_names
from bothways.training.started import started


@settled(MultiTaskConfig)
@checked
def finetune_multitask(
    config: MultiTaskConfig,
    *,
    resume: bool = False,
    device: torch.device | str | None = None,
    track: str | None = None,
    show: Show = lambda line: None,
    say: Say = lambda text: None,
) -> Path:
    """As `finetune`, of several tasks at once: the epoch is kept that is best by the mean of the tasks' own metrics.

    The settings are a record or its fields: finetune_multitask("runs/first", tasks=[{"name": "a", "train": ...}, ...]).

    Raises:
        BothwaysError: whatever a user can cause.
        Stopped: SIGTERM or Ctrl-C came; what was learned is saved.
    """
    frame = started("finetune", config, resume=resume, device=device, track=track, show=show, say=say)
    with frame as (team, show, say):
        say("reading the records and the model")
        run = set_up_multitask(config, team, resume=resume)
        for line in how_taught(run):
            say(line)
        try:
            best = epoch_loop_of(run).fit(show)
        except DivergedError:
            raise diverged(run.state.step, rate_for(config, run.model.config.width)) from None
        say("saving the best epoch, and measuring it")
        finish(run.config, run.parts, best, steps=run.mixing.steps, show=show)
    return config.out


def how_taught(run: MultiTaskRun) -> Iterator[str]:
    """A line for each task that writes, and one for two that nothing but their sources tells apart."""
    seen: dict[tuple[object, ...], str] = {}
    for name, part in run.parts.items():
        if (writes := part.data.head.writes) is None:
            continue
        yield f"{name}: taught by {writes.objective}: {part.why}"
        if other := seen.get((writes.objective, writes.prefix)):
            yield f"{name} and {other} have the same objective and prefix: give each a prefix, as 'summarise: '"
        seen[writes.objective, writes.prefix] = name


def epoch_loop_of(run: MultiTaskRun) -> EpochLoop:
    """The epochs of all tasks together."""
    losses = losses_of(run.model, run.state)
    looks = {name: dev_evaluation(part, losses) for name, part in run.parts.items()}
    samples = (
        one for part in run.parts.values() for number in range(len(part.parts)) for one in part.drawn(0, number, 0.0)
    )
    mixing = run.mixing

    def count(step: int) -> int:
        return len(mixing.of_step(step))

    def evaluate() -> dict[str, Any]:
        """The tasks' own metrics behind their mean; each task's loss and all of its scores beside them."""
        found = {name: one() for name, one in looks.items()}
        known = [one["loss"] for one in found.values() if one["loss"] is not None]
        loss = float(np.mean(known)) if known else None
        return {"loss": loss, "scores": with_mean({name: one["scores"] for name, one in found.items()}), "tasks": found}

    return EpochLoop(
        config=run.config,
        model=run.model,
        state=run.state,
        folder=run.folder,
        team=run.team,
        steps=mixing.steps,
        losses=losses,
        names=loss_names(run.model, (target.name for one in samples for target in one.targets)),
        batches=multitask_batches(run),
        examples=count,
        evaluate=evaluate,
        count=count if any(part.config.class_weights == "balanced" for part in run.parts.values()) else None,
    )
