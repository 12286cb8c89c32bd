"""The epochs of a run, of one task or of several: steps, a look at the dev examples after each epoch, the best kept.

Everything random is a function of the seed and the step, so a run that was stopped goes on as if it never had been.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bothways.batch import Batch, Losses
from bothways.model import Model
from bothways.training.finetuning.config import LearningSettings, training_for
from bothways.training.fit import Show, TrainLoop, again
from bothways.training.loop import LoopInputs, Report
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder
from bothways.training.state import State


@dataclass(frozen=True, slots=True)
class EpochLoop:
    """What the epochs are made of.

    steps     of an epoch
    losses    of a batch
    names     of the losses
    batches   (step, progress) -> the micro-batches of a step
    examples  (step) -> how many examples it reads
    evaluate  () -> {"loss": on the dev examples, "scores": {metric: value}}, and what else stands in the line of an
              epoch; the first of the scores says which epoch is best
    extra_metrics  () -> what else stands in the line of the step that was just done
    count     (step) -> what its loss is divided by, where examples weigh by their class: what they weigh on average,
              or a rare class would weigh no more in a step that has it alone; None: what they do weigh
    """

    config: LearningSettings
    model: Model
    state: State
    folder: RunFolder
    team: Processes
    steps: int
    losses: Callable[[Batch, torch.Generator], Losses]
    names: tuple[str, ...]
    batches: Callable[[int, float], Sequence[Batch]]
    examples: Callable[[int], int]
    evaluate: Callable[[], dict[str, Any]]
    extra_metrics: Callable[[], dict[str, Any]] = dict
    count: Callable[[int], float] | None = None

    @property
    def total(self) -> int:
        """Steps of all epochs."""
        return self.steps * self.config.epochs

    @property
    def best(self) -> int:
        """The number of the best epoch so far, from 1; of equals the first."""
        scores = self.state.notes["scores"]
        return 1 + max(range(len(scores)), key=lambda epoch: (scores[epoch], -epoch))

    def patience_ended(self) -> bool:
        """Whether so many epochs were no better than the best."""
        patience, scores = self.config.patience, self.state.notes.get("scores", [])
        return bool(patience and scores) and len(scores) - self.best >= (patience or 0)

    def fit(self, show: Show) -> int:
        """Trains to the end, or until patience ends; the step of the best epoch."""
        config, notes = self.config, self.state.notes
        training = training_for(config, self.model.config.width, steps=self.total, seed=config.seed)
        started = time.perf_counter() - notes.get("seconds", 0.0)

        def more(report: Report, took: float) -> dict[str, Any]:
            notes["seconds"] = time.perf_counter() - started
            return {
                "flops": notes["flops"],
                "examples_per_second": round(self.examples(report.step - 1) / took, 1),
                "seconds": round(notes["seconds"], 3),
                **self.extra_metrics(),
            }

        work = LoopInputs(self.losses, self.batches, self.names, self.count)
        fit = TrainLoop(
            work, self.state, training, self.folder, show, self._save, again("finetune", config.out, self.team)
        )
        with fit.saving():
            if self.state.step and self.state.step % self.steps == 0 and not self.state.validated:
                self._end_epoch(fit)  # a signal had ended it
            self.model.train()
            if not self.patience_ended():
                for report in fit.steps(self.total, more):
                    if report.step % self.steps == 0:
                        self._end_epoch(fit)
                        self.model.train()
                        if self.patience_ended():
                            break
        return self.best * self.steps

    def _save(self) -> None:
        self.folder.save(self.state)
        self.team.wait()

    def _end_epoch(self, fit: TrainLoop) -> None:
        """Its loss and scores on the dev examples, and its checkpoint; the best and the last are kept."""
        self.model.eval()
        found = self.evaluate()
        scores, epoch = found["scores"], self.state.step // self.steps
        before = self.state.notes.get("scores", [])[: epoch - 1]
        self.state.notes |= {"scores": [*before, scores[next(iter(scores))]], "validated": self.state.step}
        fit.tell({"kind": "validation", "step": self.state.step, "epoch": epoch, **found})
        fit.save()
        self.folder.prune({self.best * self.steps})
